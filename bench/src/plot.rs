//! Bars on a logarithmic axis, as SVG, for light pages and for dark ones.

use std::error::Error;

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::child::of_repository;
use crate::report::Spread;

/// A figure: a row for each that is compared, a panel for each way it was measured.
pub struct Plot {
    /// Of the file, without what follows.
    pub name: &'static str,
    pub title: String,
    pub rows: Vec<Row>,
    pub panels: Vec<Panel>,
    /// Where bars begin.
    pub from: f64,
}

pub struct Row {
    pub label: String,
    pub is_ours: bool,
}

pub struct Panel {
    pub title: String,
    /// As many as there are rows. What was not measured has no bar.
    pub bars: Vec<Option<Spread>>,
}

struct Theme {
    name: &'static str,
    paper: RGBColor,
    text: RGBColor,
    grid: RGBColor,
    ours: RGBColor,
    other: RGBColor,
}

const THEMES: [Theme; 2] = [
    Theme {
        name: "light",
        paper: RGBColor(255, 255, 255),
        text: RGBColor(31, 35, 40),
        grid: RGBColor(222, 226, 230),
        ours: RGBColor(9, 105, 218),
        other: RGBColor(158, 167, 178),
    },
    Theme {
        name: "dark",
        paper: RGBColor(13, 17, 23),
        text: RGBColor(230, 237, 243),
        grid: RGBColor(48, 54, 61),
        ours: RGBColor(88, 166, 255),
        other: RGBColor(99, 108, 118),
    },
];

const FOLDER: &str = "docs/bench";
const WIDTH: u32 = 960;
const ROW_HEIGHT: u32 = 24;
/// The title, the panels' titles and the axis.
const FRAME_HEIGHT: u32 = 104;
/// The names of the rows, before the first panel.
const LABELS_WIDTH: u32 = 210;

type Outcome = Result<(), Box<dyn Error>>;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

impl Plot {
    /// Writes the files, and gives what shows them on a page in `docs/`. Without rows there is
    /// nothing to show.
    pub fn write(&self) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let folder = of_repository(FOLDER);
        std::fs::create_dir_all(&folder).expect("a folder");
        for theme in &THEMES {
            let path = folder.join(format!("{}-{}.svg", self.name, theme.name));
            let size = (WIDTH, FRAME_HEIGHT + ROW_HEIGHT * self.rows.len() as u32);
            let drawn = self.draw(&SVGBackend::new(&path, size).into_drawing_area(), theme);
            drawn.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
        let (name, title) = (self.name, &self.title);
        format!(
            "<picture>\n  \
             <source media=\"(prefers-color-scheme: dark)\" srcset=\"bench/{name}-dark.svg\">\n  \
             <img alt=\"{title}\" src=\"bench/{name}-light.svg\">\n</picture>\n"
        )
    }

    fn draw(&self, whole: &Area<'_>, theme: &Theme) -> Outcome {
        whole.fill(&theme.paper)?;
        let below = whole.titled(&self.title, ("sans-serif", 20).into_font().color(&theme.text))?;
        let width = (WIDTH - LABELS_WIDTH) / self.panels.len() as u32;
        let mut rest = below;
        for (place, panel) in self.panels.iter().enumerate() {
            let labels = if place == 0 { LABELS_WIDTH } else { 0 };
            let (here, behind) = rest.split_horizontally(width + labels);
            self.draw_panel(&here, panel, labels, theme)?;
            rest = behind;
        }
        whole.present()?;
        Ok(())
    }

    fn draw_panel(&self, area: &Area<'_>, panel: &Panel, labels: u32, theme: &Theme) -> Outcome {
        let text = |size: u32| ("sans-serif", size).into_font().color(&theme.text);
        let last = self.rows.len() - 1;
        let mut chart = ChartBuilder::on(area)
            .caption(&panel.title, text(15))
            .margin(6)
            .margin_right(20)
            .x_label_area_size(28)
            .y_label_area_size(labels)
            .build_cartesian_2d(self.range().log_scale(), (0..last).into_segmented())?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .bold_line_style(theme.grid)
            .max_light_lines(1)
            .axis_style(theme.grid)
            .x_label_formatter(&|value| format!("{value}"))
            // From the top to the bottom.
            .y_label_formatter(&|at| match at {
                SegmentValue::CenterOf(at) => self.rows[last - at].label.clone(),
                _ => String::new(),
            })
            .y_labels(self.rows.len())
            .label_style(text(13))
            .draw()?;
        for (at, (row, bar)) in self.rows.iter().zip(&panel.bars).enumerate() {
            let Some(bar) = bar else { continue };
            let color = if row.is_ours { theme.ours } else { theme.other };
            let (low, high) = (SegmentValue::Exact(last - at), SegmentValue::Exact(last - at + 1));
            let to = bar.median.max(self.range().start);
            let mut filled = Rectangle::new([(self.from, low), (to, high)], color.filled());
            filled.set_margin(5, 5, 0, 0);
            chart.draw_series([filled])?;
            let middle = SegmentValue::CenterOf(last - at);
            let ends = [bar.low, bar.high].map(|end| (end.max(self.range().start), middle.clone()));
            chart.draw_series([PathElement::new(ends, theme.text)])?;
            let end = (to.max(bar.high).max(self.from), middle);
            let figure = Text::new(figure(bar.median), (6, -6), text(12));
            chart.draw_series([EmptyElement::at(end) + figure])?;
        }
        Ok(())
    }

    /// Whole powers of ten, with room for a figure behind the longest bar.
    fn range(&self) -> std::ops::Range<f64> {
        let bars = self.panels.iter().flat_map(|panel| panel.bars.iter().flatten());
        let (mut low, mut high) = (self.from, self.from * 10.0);
        for bar in bars.filter(|bar| bar.low > 0.0) {
            (low, high) = (low.min(bar.low), high.max(bar.high));
        }
        10f64.powf(low.log10().floor())..10f64.powf((high * 3.0).log10().ceil())
    }
}

fn figure(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}
