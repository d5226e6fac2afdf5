//! One setting: what it is called, what it does, and where its value lies.

use std::sync::LazyLock;

use super::Config;
use super::kind::{Facts, Given, Shape};

static DEFAULTS: LazyLock<Config> = LazyLock::new(Config::default);

/// One setting. All of them stand in [`KEYS`](super::KEYS).
#[derive(Debug, Clone, Copy)]
pub struct Key {
    pub(super) group: Group,
    name: &'static str,
    aliases: &'static [&'static str],
    unset: &'static str,
    is_live: bool,
    about: &'static str,
    field: Field,
}

/// How the field of a [`Config`] is reached that holds the value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field {
    pub(super) facts: fn(&Config) -> Facts,
    pub(super) read: fn(&mut Config, Given<'_>) -> Option<()>,
    pub(super) text: fn(&Config) -> Option<String>,
    pub(super) copy: fn(&Config, &mut Config),
    pub(super) is_same: fn(&Config, &Config) -> bool,
}

/// What a setting is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Group {
    /// Everything on the device.
    Device,
    /// What is stored, by an agent or by `serve`.
    Store,
    /// An agent's own queue.
    Queue,
    /// Which records go first.
    Priority,
    /// The way to the hub.
    Delivery,
    /// Whether there is a link.
    Link,
    /// The intake of `serve`.
    Intake,
    /// Weave's data.
    Weave,
    /// The calls of models.
    Models,
}

impl Group {
    /// All groups, in the order of the table.
    pub const ALL: [Group; 9] = [
        Group::Device,
        Group::Store,
        Group::Queue,
        Group::Delivery,
        Group::Link,
        Group::Priority,
        Group::Intake,
        Group::Weave,
        Group::Models,
    ];

    /// The group in words.
    pub fn title(self) -> &'static str {
        match self {
            Group::Device => "The device",
            Group::Store => "What is stored, by an agent or by `backhaul serve`",
            Group::Queue => "An agent's own queue",
            Group::Delivery => "Delivery to a hub",
            Group::Link => "Whether there is a link",
            Group::Priority => "What goes first",
            Group::Intake => "The intake of `backhaul serve`",
            Group::Weave => "Weave's data, its collector and its delivery",
            Group::Models => "Calls of models",
        }
    }
}

impl Key {
    pub(super) const fn new(
        group: Group,
        name: &'static str,
        about: &'static str,
        field: Field,
    ) -> Self {
        Self { group, name, aliases: &[], unset: "none", is_live: false, about, field }
    }

    /// Other names that are read.
    pub(super) const fn aliases(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    /// What holds where nothing is set, in words.
    pub(super) const fn unset(mut self, unset: &'static str) -> Self {
        self.unset = unset;
        self
    }

    /// It can change while the program runs.
    pub(super) const fn live(mut self) -> Self {
        self.is_live = true;
        self
    }

    /// The name: the key in the file.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Whether this is the name or another that is read.
    pub fn is_called(&self, name: &str) -> bool {
        self.names().any(|own| own == name)
    }

    /// The name and the others that are read.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        std::iter::once(self.name).chain(self.aliases.iter().copied())
    }

    /// The name of the flag, of commands that have one.
    pub fn flag(&self) -> String {
        format!("--{}", self.name.replace('_', "-"))
    }

    /// What it does, in a sentence or two.
    pub fn about(&self) -> &'static str {
        self.about
    }

    /// What a value has to be.
    pub fn expected(&self) -> &'static str {
        self.facts().expected
    }

    /// Whether a change holds at the next reload; else it needs a restart.
    pub fn is_live(&self) -> bool {
        self.is_live
    }

    /// Whether the value is never shown.
    pub fn is_secret(&self) -> bool {
        self.facts().is_secret
    }

    /// Whether a value is a number or a truth value, and stands without quotes.
    pub fn is_bare(&self) -> bool {
        !matches!(self.facts().shape, Shape::Text | Shape::List)
    }

    /// The default, or in words what holds where there is none.
    pub fn default(&self) -> String {
        self.shown(&DEFAULTS)
    }

    /// Whether there is a default, and not only something that holds where nothing is set.
    pub fn has_default(&self) -> bool {
        self.text(&DEFAULTS).is_some()
    }

    /// The group.
    pub fn group(&self) -> Group {
        self.group
    }

    /// The value in a configuration, as it may be shown; none: nothing is set.
    pub fn text(&self, config: &Config) -> Option<String> {
        (self.field.text)(config)
    }

    /// The value, or in words what holds where nothing is set.
    pub fn shown(&self, config: &Config) -> String {
        self.text(config).unwrap_or_else(|| self.unset.to_owned())
    }

    pub(super) fn facts(&self) -> Facts {
        (self.field.facts)(&DEFAULTS)
    }

    pub(super) fn read(&self, config: &mut Config, given: Given<'_>) -> Option<()> {
        (self.field.read)(config, given)
    }

    pub(super) fn copy(&self, from: &Config, to: &mut Config) {
        (self.field.copy)(from, to);
    }

    pub(super) fn reset(&self, config: &mut Config) {
        self.copy(&DEFAULTS, config);
    }

    pub(super) fn is_same(&self, one: &Config, other: &Config) -> bool {
        (self.field.is_same)(one, other)
    }
}
