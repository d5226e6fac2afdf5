//! The bytes of one file, in pages that copies share.

use std::sync::Arc;

/// Bytes in a page, as on Linux and as most flash translation layers program them.
pub(crate) const PAGE: usize = 4096;

/// File content. A clone copies only the table of pages.
///
/// What must stay true: the table has exactly the pages that `len` needs, and
/// bytes of the last page past `len` are zero. A page that is not there is zeros.
#[derive(Debug, Clone, Default)]
pub(crate) struct Content {
    len: usize,
    pages: Vec<Option<Arc<[u8; PAGE]>>>,
}

impl Content {
    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        let mut content = Self::default();
        content.write(bytes, 0);
        content
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn page_count(&self) -> usize {
        self.pages.len()
    }

    pub(crate) fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len];
        self.read(&mut bytes, 0);
        bytes
    }

    /// Reads what there is from `offset`; the count is short only at the end.
    pub(crate) fn read(&self, buffer: &mut [u8], offset: usize) -> usize {
        let count = buffer.len().min(self.len.saturating_sub(offset));
        for_each_page(offset, count, |page, start, done, length| {
            let target = &mut buffer[done..done + length];
            match &self.pages[page] {
                Some(bytes) => target.copy_from_slice(&bytes[start..start + length]),
                None => target.fill(0),
            }
        });
        count
    }

    /// Writes all of `data`, growing the file where needed; a gap reads as zeros.
    pub(crate) fn write(&mut self, data: &[u8], offset: usize) {
        if data.is_empty() {
            return;
        }
        self.grow(offset + data.len());
        for_each_page(offset, data.len(), |page, start, done, length| {
            self.page_mut(page)[start..start + length].copy_from_slice(&data[done..done + length]);
        });
    }

    pub(crate) fn set_len(&mut self, len: usize) {
        if len < self.len {
            self.pages.truncate(len.div_ceil(PAGE));
            let kept = len % PAGE;
            if kept > 0 && self.pages.last().is_some_and(Option::is_some) {
                self.page_mut(len / PAGE)[kept..].fill(0);
            }
            self.len = len;
        } else {
            self.grow(len);
        }
    }

    /// Takes over one whole page of `other`, as a write-back does. Both must
    /// have the same length.
    pub(crate) fn take_page(&mut self, page: usize, other: &Self) {
        debug_assert_eq!(self.len, other.len);
        self.pages[page].clone_from(&other.pages[page]);
    }

    fn grow(&mut self, len: usize) {
        if len > self.len {
            self.pages.resize(len.div_ceil(PAGE), None);
            self.len = len;
        }
    }

    fn page_mut(&mut self, page: usize) -> &mut [u8; PAGE] {
        Arc::make_mut(self.pages[page].get_or_insert_with(|| Arc::new([0; PAGE])))
    }
}

/// Cuts a range at page borders: page, offset in it, bytes done before, bytes in it.
fn for_each_page(offset: usize, count: usize, mut visit: impl FnMut(usize, usize, usize, usize)) {
    let mut done = 0;
    while done < count {
        let start = (offset + done) % PAGE;
        let length = (PAGE - start).min(count - done);
        visit((offset + done) / PAGE, start, done, length);
        done += length;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prng::Prng;

    #[test]
    fn behaves_like_a_plain_vector() {
        let mut prng = Prng::new(1);
        let mut content = Content::default();
        let mut model: Vec<u8> = Vec::new();
        for _ in 0..2_000 {
            let offset = prng.index(20_000);
            if prng.chance(0.2) {
                content.set_len(offset);
                model.resize(offset, 0);
            } else {
                let length = prng.index(9_000);
                let data = prng.bytes(length);
                content.write(&data, offset);
                if !data.is_empty() {
                    model.resize(model.len().max(offset + data.len()), 0);
                    model[offset..offset + data.len()].copy_from_slice(&data);
                }
            }
            assert_eq!(content.len(), model.len());
            assert!(content.to_vec() == model);
        }
    }

    #[test]
    fn clones_do_not_see_later_writes() {
        let mut content = Content::from_bytes(&[1; 10_000]);
        let before = content.clone();
        content.write(&[2; 100], 4_090);
        assert!(before.to_vec() == vec![1; 10_000]);
    }

    #[test]
    fn reads_stop_at_the_end() {
        let content = Content::from_bytes(b"abc");
        let mut buffer = [9; 5];
        assert_eq!(content.read(&mut buffer, 1), 2);
        assert_eq!(buffer, [b'b', b'c', 9, 9, 9]);
        assert_eq!(content.read(&mut buffer, 3), 0);
        assert_eq!(content.read(&mut buffer, usize::MAX), 0);
    }
}
