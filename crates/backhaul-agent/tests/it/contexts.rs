//! Generated contexts, beside a model that copies everything.

use backhaul_agent::json::{self, Style};
use backhaul_agent::{Context, ContextPatch, MergeStrategy, PatchLog};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// What a context does, the plain way.
#[derive(Debug, Clone)]
struct Model(Map<String, Value>);

impl Model {
    fn parent(&mut self, path: &str) -> (&mut Map<String, Value>, String) {
        let mut parts: Vec<&str> = path.split('.').collect();
        let last = parts.pop().unwrap().to_owned();
        let parent = parts.into_iter().fold(&mut self.0, |map, part| {
            let child = map.entry(part).or_insert_with(|| json!({}));
            if !child.is_object() {
                *child = json!({});
            }
            child.as_object_mut().unwrap()
        });
        (parent, last)
    }

    fn get(&self, path: &str) -> Option<&Value> {
        let mut parts = path.split('.');
        let first = self.0.get(parts.next()?);
        parts.fold(first, |value, part| value?.as_object()?.get(part))
    }

    fn set(&mut self, path: &str, value: Value) {
        let (parent, key) = self.parent(path);
        parent.insert(key, value);
    }

    fn act(&mut self, action: &Action) {
        match action {
            Action::Set(path, value) => self.set(path, value.clone()),
            Action::Delete(path) => {
                if self.get(path).is_some() {
                    let (parent, key) = self.parent(path);
                    parent.shift_remove(&key);
                }
            }
            Action::Append(path, value) => {
                let mut items = match self.get(path).cloned() {
                    None => Vec::new(),
                    Some(Value::Array(items)) => items,
                    Some(other) => vec![other],
                };
                items.push(value.clone());
                self.set(path, Value::from(items));
            }
            Action::DeepMerge(path, changes) => {
                let mut target = self.get(path).cloned().unwrap_or_default();
                merge(&mut target, &Value::Object(changes.clone()));
                self.set(path, target);
            }
            Action::Merge(other) => self.0.extend(other.clone()),
        }
    }

    fn text(&self) -> String {
        text(&Value::Object(self.0.clone()))
    }
}

fn merge(target: &mut Value, change: &Value) {
    let Value::Object(change) = change else {
        *target = change.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, change) in change {
        match target.get_mut(key) {
            Some(old) if old.is_object() && change.is_object() => merge(old, change),
            _ => target[key] = change.clone(),
        }
    }
}

#[derive(Debug, Clone)]
enum Action {
    Set(String, Value),
    Delete(String),
    Append(String, Value),
    DeepMerge(String, Map<String, Value>),
    Merge(Map<String, Value>),
}

impl Action {
    /// The patch that does the same; there is none for a merge of whole contexts.
    fn patch(&self) -> Option<ContextPatch> {
        match self.clone() {
            Self::Set(path, value) => Some(ContextPatch::set(path, value)),
            Self::Delete(path) => Some(ContextPatch::delete(path)),
            Self::Append(path, value) => Some(ContextPatch::append(path, value)),
            Self::DeepMerge(path, changes) => Some(ContextPatch::merge(path, changes)),
            Self::Merge(_) => None,
        }
    }

    fn act(&self, context: &Context) -> Context {
        match self.clone() {
            Self::Set(path, value) => context.set(&path, value),
            Self::Delete(path) => context.delete(&path),
            Self::Append(path, value) => context.append(&path, value),
            Self::DeepMerge(path, changes) => context.deep_merge(&path, changes),
            Self::Merge(other) => context.merge(&Context::from(other)),
        }
    }
}

fn text(value: &Value) -> String {
    String::from_utf8(json::to_vec(value, Style::Compact)).unwrap()
}

fn text_of(context: &Context) -> String {
    String::from_utf8(context.to_json()).unwrap()
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        prop::sample::select(vec![json!(null), json!(true), json!(false), json!(0), json!(1)]),
        Just(json::float(1.0)),
        Just(json::float(f64::NAN)),
        "[0-9]{20,40}"
            .prop_map(|digits| json::from_slice(format!("1{digits}").as_bytes()).unwrap()),
        "[a-b\u{FDD0}]{0,2}".prop_map(|text| json::text(&text)),
    ]
}

/// Few, so that they meet; `dots` says whether there may be any in them.
fn key(dots: bool) -> impl Strategy<Value = String> {
    let keys = ["a", "b", "c", "", "a.b", ".", "b.", "a.a.a"];
    prop::sample::select(keys[..if dots { 8 } else { 4 }].to_vec()).prop_map(str::to_owned)
}

/// Values up to four deep; lists and objects from nothing to beyond where they become trees.
fn value(dots: bool) -> impl Strategy<Value = Value> {
    let wide = (0..80usize, 0..80usize).prop_map(|(count, from)| {
        let entries = (0..count).map(|number| (format!("k{}", (number + from) % 80), number));
        entries.map(|(key, number)| (key, json!({"n": number}))).collect::<Map<_, _>>()
    });
    let leaf = prop_oneof![
        8 => scalar(),
        1 => wide.prop_map(Value::Object),
        1 => (0..80).prop_map(|count| Value::from((0..count).collect::<Vec<_>>())),
    ];
    leaf.prop_recursive(4, 24, 5, move |inner| {
        prop_oneof![
            1 => prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            3 => object(inner, dots).prop_map(Value::Object),
        ]
    })
}

fn object(
    values: impl Strategy<Value = Value>,
    dots: bool,
) -> impl Strategy<Value = Map<String, Value>> {
    prop::collection::vec((key(dots), values), 0..5)
        .prop_map(|entries| entries.into_iter().collect())
}

fn path() -> impl Strategy<Value = String> {
    let wide = (0..80).prop_map(|number| format!("k{number}"));
    let part = prop_oneof![4 => key(false), 1 => wide];
    prop::collection::vec(part, 1..4).prop_map(|parts| parts.join("."))
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        4 => (path(), value(true)).prop_map(|(path, value)| Action::Set(path, value)),
        3 => path().prop_map(Action::Delete),
        3 => (path(), value(true)).prop_map(|(path, value)| Action::Append(path, value)),
        1 => (path(), object(value(true), true)).prop_map(|(path, it)| Action::DeepMerge(path, it)),
        1 => object(value(true), true).prop_map(Action::Merge),
    ]
}

/// What no path names: keys on the way to it that have dots, or a depth beyond all paths.
fn odd_object() -> impl Strategy<Value = Map<String, Value>> {
    (
        object(value(true), true),
        prop::option::weighted(0.2, (250..300usize, object(scalar(), true))),
    )
        .prop_map(|(mut map, deep)| {
            if let Some((depth, inner)) = deep {
                let nest = |value, _| json!({"d": value});
                map.insert("d".to_owned(), (1..depth).fold(Value::Object(inner), nest));
            }
            map
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..Default::default() })]

    #[test]
    fn every_version_is_the_one_of_a_model_that_copies(
        start in object(value(true), true),
        actions in prop::collection::vec(action(), 0..20),
    ) {
        let mut model = Model(start.clone());
        let mut versions = vec![(Context::from(start), model.text())];
        for action in &actions {
            let (before, _) = versions.last().unwrap();
            let after = action.act(before);
            if let Some(patch) = action.patch() {
                prop_assert_eq!(&before.apply(&patch).unwrap().without_history(), &after);
            }
            model.act(action);
            versions.push((after, model.text()));
        }
        for (context, expected) in &versions {
            prop_assert_eq!(&text_of(context), expected);
            prop_assert_eq!(context, &Context::from_value(context.to_value()).unwrap());
        }
    }

    #[test]
    fn get_and_contains_find_what_the_model_finds(start in object(value(true), true), path in path()) {
        let model = Model(start.clone());
        let context = Context::from(start);
        prop_assert_eq!(context.get(&path), model.get(&path).cloned());
        prop_assert_eq!(context.contains(&path), model.get(&path).is_some());
    }

    #[test]
    fn applying_a_diff_gives_the_other_one_to_the_letter(old in odd_object(), new in odd_object()) {
        let (old, new) = (Context::from(old), Context::from(new));
        let replayed = PatchLog::from(old.diff(&new)).replay(&old).unwrap();
        prop_assert_eq!(text_of(&replayed), text_of(&new));
        let stored = PatchLog::from(old.diff(&new)).to_value();
        let read = PatchLog::from_value(stored).unwrap().replay(&old).unwrap();
        prop_assert_eq!(text_of(&read), text_of(&new));
    }

    #[test]
    fn a_diff_is_empty_only_between_equal_texts(old in odd_object(), actions in prop::collection::vec(action(), 0..3)) {
        let old = Context::from(old);
        let new = actions.iter().fold(old.clone(), |context, action| action.act(&context));
        prop_assert_eq!(old.diff(&new).is_empty(), text_of(&old) == text_of(&new));
        let replayed = PatchLog::from(old.diff(&new)).replay(&old).unwrap();
        prop_assert_eq!(text_of(&replayed), text_of(&new));
    }

    /// Where the outermost keys have dots, upstream's form does not say which they are.
    #[test]
    fn a_diff_in_python_is_empty_between_equal_values(old in odd_object(), new in odd_object()) {
        let (old, new) = (Context::from(old), Context::from(new));
        let same = json::same_in_python(&old.to_value(), &new.to_value());
        prop_assert_eq!(old.diff_in_python(&new).is_empty(), same);
        let replayed = PatchLog::from(old.diff_in_python(&new)).replay(&old).unwrap();
        prop_assert!(json::same_in_python(&replayed.to_value(), &new.to_value()));
    }

    #[test]
    fn little_changed_makes_a_small_diff(start in object(value(false), false), path in path()) {
        let old = Context::from(start);
        let new = old.set(&path, "changed");
        prop_assert!(old.diff(&new).len() <= 1);
        let deleted = old.delete(&path);
        prop_assert_eq!(old.diff(&deleted).len(), usize::from(old.contains(&path)));
    }

    #[test]
    fn both_json_forms_read_back(start in odd_object(), actions in prop::collection::vec(action(), 0..6)) {
        let patches = actions.iter().filter_map(Action::patch);
        let context = patches.fold(Context::from(start), |context, patch| context.apply(&patch).unwrap());
        let bare = Context::from_value(json::from_slice(&context.to_json()).unwrap()).unwrap();
        prop_assert_eq!(&bare, &context.without_history());
        prop_assert_eq!(text_of(&bare), text_of(&context));
        let checkpoint = json::from_slice(&context.to_checkpoint_json()).unwrap();
        prop_assert_eq!(text(&checkpoint), text(&context.to_checkpoint_value()));
        let read = Context::from_checkpoint_value(checkpoint).unwrap();
        prop_assert_eq!(&read, &context);
        prop_assert_eq!(read.state_hash(), context.state_hash());
    }

    #[test]
    fn one_branch_is_taken_over_and_two_that_agree_do_not_conflict(
        base in object(value(true), true),
        actions in prop::collection::vec(action(), 0..6),
    ) {
        let base = Context::from(base);
        let branch = actions.iter().fold(base.clone(), |context, action| action.act(&context));
        for branches in [vec![branch.clone()], vec![branch.clone(), base.clone(), branch.clone()]] {
            let merged = base.merge_branches(&branches, MergeStrategy::RaiseOnConflict).unwrap();
            prop_assert_eq!(&merged.context, &branch);
        }
    }

    #[test]
    fn a_conflict_is_reported_under_every_strategy(
        base in object(value(false), false),
        path in path(),
    ) {
        let base = Context::from(base);
        let branches = [base.set(&path, "left"), base.set(&path, "right")];
        for strategy in [MergeStrategy::LastWriteWins, MergeStrategy::DeepMerge] {
            let merged = base.merge_branches(&branches, strategy).unwrap();
            prop_assert_eq!(merged.conflicts.len(), 1);
            prop_assert_eq!(merged.context.get(&path), Some(json!("right")));
        }
        let error = base.merge_branches(&branches, MergeStrategy::RaiseOnConflict).unwrap_err();
        prop_assert_eq!(&error.conflicts[0].branch_indices, &[0, 1]);
    }
}

#[test]
fn history_of_a_clone_is_shared_and_limits_hold() {
    let patches: Vec<_> = (0..200).map(|number| ContextPatch::set("n", number)).collect();
    let apply = |context: Context, patch| context.apply(patch).unwrap();
    let whole = patches.iter().fold(Context::new(), apply);
    let alive = whole.clone();
    let limited = patches.iter().fold(whole.with_history_limit(10), apply);
    let ids = |context: &Context| -> Vec<String> {
        context.get_timeline().map(|patch| patch.id.clone()).collect()
    };
    let newest: Vec<_> = patches[190..].iter().map(|patch| patch.id.clone()).collect();
    assert_eq!(ids(&limited), newest);
    assert_eq!(ids(&whole.with_history_limit(10)), newest);
    assert_eq!(ids(&alive).len(), 200);
    assert_eq!(limited.without_history(), whole.without_history());
    assert_eq!(apply(limited.without_history(), &patches[0]).get_timeline().len(), 1);
    assert_eq!(patches.iter().fold(whole.with_history_limit(0), apply).get_timeline().len(), 0);
}

#[test]
fn deepest_document_that_can_be_read_does_no_harm() {
    let depth = json::MAX_DEPTH;
    let document = |leaf: &str| format!("{}{leaf}{}", "{\"a\":".repeat(depth), "}".repeat(depth));
    let context = |leaf: &str| {
        Context::from_value(json::from_slice(document(leaf).as_bytes()).unwrap()).unwrap()
    };
    let (old, new) = (context("1"), context("2"));
    assert_eq!(old.diff(&new).len(), 1);
    assert_eq!(old.diff_in_python(&new).len(), 1);
    assert_eq!(text_of(&old.merge(&new)), document("2"));
    let changes = json::from_slice(document("2").as_bytes()).unwrap();
    let patched = old.apply(&ContextPatch::merge("a", changes["a"].clone())).unwrap();
    assert!(patched.without_history() == new);
    let merged =
        old.merge_branches(&[new.clone(), context("3")], MergeStrategy::DeepMerge).unwrap();
    assert_eq!(text_of(&merged.context), document("3"));
    assert_eq!(merged.conflicts[0].path.len(), 2 * depth - 1);
    assert_eq!(old.state_hash().len(), 64);
}
