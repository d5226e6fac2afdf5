//! What one power cut may leave of a disk.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use crate::content::Content;
use crate::crash_style::{CrashStyle, Order, Tear};
use crate::file_node::{Change, DataOp, FileNode};
use crate::name_op::NameOp;
use crate::prng::Prng;
use crate::sim_state::{DirNode, Names, Node, NodeId, ROOT, State};

/// Draws one image: names first, then the content of every file that has one.
pub(crate) fn draw(state: &State, prng: &mut Prng, style: &CrashStyle) -> State {
    let mut directories = surviving_names(state, prng, style);
    let mut nodes = BTreeMap::new();
    let mut waiting = vec![ROOT];
    while let Some(id) = waiting.pop() {
        if let Some(Node::File(file)) = nodes.get_mut(&id) {
            file.links += 1;
            continue;
        }
        match state.nodes.get(&id) {
            Some(Node::Dir(_)) => {
                // Gone already when another name has led here.
                let Some(names) = directories.remove(&id) else {
                    continue;
                };
                waiting.extend(names.values());
                let dir = DirNode { live: Arc::clone(&names), durable: names };
                nodes.insert(id, Node::Dir(dir));
            }
            Some(Node::File(file)) => {
                let content = surviving_content(file, prng, style);
                nodes.insert(id, Node::File(FileNode::settled(content)));
            }
            None => {}
        }
    }
    state.with_image(nodes)
}

fn surviving_names(
    state: &State,
    prng: &mut Prng,
    style: &CrashStyle,
) -> BTreeMap<NodeId, Arc<Names>> {
    let mut directories: BTreeMap<NodeId, Arc<Names>> = BTreeMap::new();
    for (&id, node) in &state.nodes {
        if let Node::Dir(dir) = node {
            directories.insert(id, Arc::clone(&dir.durable));
        }
    }
    for op in surviving_name_ops(&state.name_ops, prng, style) {
        if let Some(names) = directories.get_mut(&op.dir()) {
            op.apply(Arc::make_mut(names));
        }
    }
    directories
}

fn surviving_name_ops<'a>(
    ops: &'a [NameOp],
    prng: &mut Prng,
    style: &CrashStyle,
) -> Vec<&'a NameOp> {
    if !style.ordered_metadata {
        return ops.iter().filter(|_| prng.chance(style.keep_names)).collect();
    }
    let mut kept = prefix(ops.len(), style.keep_names, prng);
    // A journal commits both halves of a move at once.
    if kept > 0 && ops.get(kept).is_some_and(NameOp::is_joined) {
        kept += 1;
    }
    ops[..kept].iter().collect()
}

/// How many of `count` operations come first and survive.
fn prefix(count: usize, keep: f64, prng: &mut Prng) -> usize {
    if keep <= 0.0 {
        0
    } else if keep >= 1.0 {
        count
    } else {
        prng.index(count + 1)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Keep,
    Tear,
    Drop,
}

fn surviving_content(file: &FileNode, prng: &mut Prng, style: &CrashStyle) -> Arc<Content> {
    if file.ops.is_empty() {
        return Arc::clone(&file.durable);
    }
    let mut fates: Vec<(&DataOp, Fate)> =
        file.ops.iter().zip(fates(file.ops.len(), prng, style)).collect();
    if style.order == Order::Shuffled {
        prng.shuffle(&mut fates);
    }
    let mut image = (*file.durable).clone();
    let mut in_flight = Vec::new();
    let mut lengths = vec![image.len()];
    for (op, fate) in fates {
        match (&op.change, fate) {
            (_, Fate::Drop) => {}
            (Change::Write { offset, data }, Fate::Keep) => image.write(data, *offset),
            (Change::Write { offset, data }, Fate::Tear) => {
                let byte = tear(&mut image, data, *offset, prng, style.tear_at);
                in_flight.extend(style.scramble.block().map(|block| block_at(byte, block)));
            }
            (Change::SetLen { len }, Fate::Keep) => image.set_len(*len),
            (Change::SetLen { len }, Fate::Tear) => {
                if prng.chance(0.5) {
                    image.set_len(*len);
                }
            }
        }
        lengths.push(image.len());
    }
    if style.loose_length {
        let len = loose_length(image.len(), file.live.len(), &lengths, prng);
        image.set_len(len);
    }
    for block in in_flight {
        scramble(&mut image, block, prng);
    }
    Arc::new(image)
}

fn fates(count: usize, prng: &mut Prng, style: &CrashStyle) -> Vec<Fate> {
    if style.order == Order::Prefix {
        let kept = prefix(count, style.keep, prng);
        let torn = prng.chance(style.tear);
        let fate = |index: usize| match index.cmp(&kept) {
            std::cmp::Ordering::Less => Fate::Keep,
            std::cmp::Ordering::Equal if torn => Fate::Tear,
            _ => Fate::Drop,
        };
        return (0..count).map(fate).collect();
    }
    let draw = |_| {
        if prng.chance(style.keep) {
            Fate::Keep
        } else if prng.chance(style.tear / (1.0 - style.keep)) {
            Fate::Tear
        } else {
            Fate::Drop
        }
    };
    (0..count).map(draw).collect()
}

/// Writes a part of `data`. Answers with a byte of it that was in flight.
fn tear(image: &mut Content, data: &[u8], offset: usize, prng: &mut Prng, at: Tear) -> usize {
    let at = if at == Tear::Any { *prng.pick(&[Tear::Sector, Tear::Page, Tear::Byte]) } else { at };
    let unit = match at {
        Tear::Sector => 512,
        Tear::Page => 4096,
        Tear::Byte | Tear::Any => {
            let cut = prng.index(data.len());
            image.write(&data[..cut], offset);
            return offset + cut;
        }
    };
    let mut start = 0;
    while start < data.len() {
        let end = (block_at(offset + start, unit).end - offset).min(data.len());
        if prng.chance(0.5) {
            image.write(&data[start..end], offset + start);
        }
        start = end;
    }
    offset + prng.index(data.len())
}

/// A length that runs behind what survived, or ahead of it, or neither.
fn loose_length(reached: usize, wanted: usize, lengths: &[usize], prng: &mut Prng) -> usize {
    match prng.below(4) {
        0 => reached.min(*prng.pick(lengths)),
        1 => reached.max(wanted),
        _ => reached,
    }
}

fn block_at(byte: usize, size: usize) -> Range<usize> {
    let start = byte - byte % size;
    start..start + size
}

/// Fills what the file has of `block` with garbage: mostly noise, at times the
/// zeros or ones of a cell that was erased and not programmed.
fn scramble(image: &mut Content, block: Range<usize>, prng: &mut Prng) {
    let length = block.end.min(image.len()).saturating_sub(block.start);
    let garbage = match prng.below(8) {
        0 => vec![0; length],
        1 => vec![0xff; length],
        _ => prng.bytes(length),
    };
    image.write(&garbage, block.start);
}
