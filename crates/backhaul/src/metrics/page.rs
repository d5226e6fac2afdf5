//! The text format of Prometheus, version 0.0.4.

use std::fmt::{Display, Write as _};

use super::Metric;

/// A page of metrics, family after family.
#[derive(Debug, Default)]
pub(crate) struct Page {
    text: String,
    name: &'static str,
}

impl Page {
    /// Begins a family. Each may be begun once.
    pub(crate) fn family(&mut self, metric: &Metric) -> &mut Self {
        let Metric { name, kind, help } = metric;
        self.name = name;
        let _ = writeln!(self.text, "# HELP {name} {}\n# TYPE {name} {kind}", escaped(help, false));
        self
    }

    /// A value of the family that was begun last.
    pub(crate) fn value(&mut self, labels: &[(&str, &str)], value: impl Display) -> &mut Self {
        let _ = write!(self.text, "{}", self.name);
        for (place, (name, label)) in labels.iter().enumerate() {
            let before = if place == 0 { '{' } else { ',' };
            let _ = write!(self.text, "{before}{name}=\"{}\"", escaped(label, true));
        }
        let after = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.text, "{after} {value}");
        self
    }

    pub(crate) fn text(self) -> String {
        self.text
    }
}

fn escaped(text: &str, is_label: bool) -> String {
    let text = text.replace('\\', "\\\\").replace('\n', "\\n");
    if is_label { text.replace('"', "\\\"") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_end_a_label_or_a_line_is_escaped() {
        let mut page = Page::default();
        page.family(&Metric { name: "a", kind: "gauge", help: "one\ntwo \"three\" \\" })
            .value(&[], 1)
            .value(&[("x", "say \"hi\"\n\\"), ("y", "")], 2.5);
        assert_eq!(
            page.text(),
            "# HELP a one\\ntwo \"three\" \\\\\n# TYPE a gauge\na 1\n\
             a{x=\"say \\\"hi\\\"\\n\\\\\",y=\"\"} 2.5\n"
        );
    }
}
