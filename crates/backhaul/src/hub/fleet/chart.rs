//! Curves as SVG.

use std::fmt::Write as _;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 210.0;
const LEFT: f64 = 60.0;
const TOP: f64 = 34.0;

/// A diagram: curves over time, from 0 on both axes.
pub(super) struct Diagram<'a> {
    pub(super) title: &'a str,
    pub(super) unit_of_time: &'a str,
    pub(super) longest: f64,
    pub(super) highest: f64,
    /// Dashed, at a height.
    pub(super) bounds: &'a [(f64, &'a str)],
    pub(super) curves: &'a [Curve],
}

pub(super) struct Curve {
    pub(super) name: &'static str,
    pub(super) colour: &'static str,
    pub(super) points: Vec<(f64, f64)>,
}

/// The diagrams, one below the other.
pub(super) fn svg(diagrams: &[Diagram<'_>]) -> String {
    let whole = (HEIGHT + 2.0 * TOP) * diagrams.len() as f64;
    let wide = WIDTH + LEFT + 20.0;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {wide} {whole}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{wide}\" height=\"{whole}\" fill=\"white\"/>\n"
    );
    for (index, diagram) in diagrams.iter().enumerate() {
        let down = TOP + (HEIGHT + 2.0 * TOP) * index as f64;
        let _ = writeln!(text, "<g transform=\"translate({LEFT} {down})\">");
        diagram.draw(&mut text);
        text.push_str("</g>\n");
    }
    text.push_str("</svg>\n");
    text
}

impl Diagram<'_> {
    fn draw(&self, text: &mut String) {
        let _ = writeln!(
            text,
            "<text y=\"-14\" font-weight=\"bold\">{}</text>\n\
             <path d=\"M0 0V{HEIGHT}H{WIDTH}\" fill=\"none\" stroke=\"black\"/>",
            self.title
        );
        for step in 0..=4 {
            let share = f64::from(step) / 4.0;
            let (x, y) = (WIDTH * share, HEIGHT * (1.0 - share));
            let (time, height) = (self.longest * share, self.highest * share);
            let _ = writeln!(
                text,
                "<text x=\"-6\" y=\"{:.0}\" text-anchor=\"end\">{}</text>\
                 <text x=\"{x:.0}\" y=\"{:.0}\" text-anchor=\"middle\">{} {}</text>",
                y + 4.0,
                number(height),
                HEIGHT + 17.0,
                number(time),
                self.unit_of_time
            );
        }
        for (height, name) in self.bounds {
            let y = self.y(*height);
            let _ = writeln!(
                text,
                "<path d=\"M0 {y:.1}H{WIDTH}\" stroke=\"gray\" stroke-dasharray=\"4 3\"/>\
                 <text x=\"{WIDTH}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"gray\">{name}</text>",
                y - 4.0
            );
        }
        for (index, curve) in self.curves.iter().enumerate() {
            let points: Vec<String> = (curve.points.iter())
                .map(|(time, height)| {
                    format!("{:.1},{:.1}", WIDTH * time / self.longest, self.y(*height))
                })
                .collect();
            let _ = writeln!(
                text,
                "<polyline fill=\"none\" stroke=\"{0}\" points=\"{1}\"/>\n\
                 <text x=\"{WIDTH}\" y=\"{2}\" text-anchor=\"end\" fill=\"{0}\">{3}</text>",
                curve.colour,
                points.join(" "),
                -20 + 14 * i32::try_from(index).unwrap(),
                curve.name
            );
        }
    }

    fn y(&self, height: f64) -> f64 {
        HEIGHT * (1.0 - height / self.highest)
    }
}

/// Without what nobody reads.
fn number(number: f64) -> String {
    if number.fract().abs() < 0.005 { format!("{number:.0}") } else { format!("{number:.2}") }
}
