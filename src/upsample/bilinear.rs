//! Bilinear interpolation with half-pixel centres, as PyTorch's `F.interpolate(…,
//! align_corners=False)`: alone as a method, and after one that has a size of its own.

use std::ops::Range;

use super::{Error, Map, Method, Prepared, Task, Upsampler};
use crate::kernel::resize::bilinear::{Tap, taps};

pub(super) const METHOD: Method = Method {
    name: "bilinear",
    title: "bilinear interpolation",
    mark: None,
    is_beside: |_| false,
    takes_kernel: false,
    build: |_, _| Box::new(Bilinear),
};

/// Number of rows of the source that are made at a time.
const SOURCE_ROWS: usize = 32;

struct Bilinear;

impl Upsampler for Bilinear {
    fn prepare<'a>(&'a self, task: &Task<'a>) -> Result<Box<dyn Prepared + 'a>, Error> {
        // Weights sum to 1, so that a bias may be added first.
        let features = match task.projection {
            Some(projection) => projection.apply(task.features),
            None => task.features.clone(),
        };
        Ok(Box::new(Resized::new(Whole(features), task.size)))
    }
}

/// A map that is in memory as a whole.
struct Whole(Map);

impl Prepared for Whole {
    fn channels(&self) -> usize {
        self.0.channels()
    }

    fn size(&self) -> [usize; 2] {
        self.0.size()
    }

    fn rows(&self, range: Range<usize>) -> Map {
        self.0.slice(range)
    }
}

/// Rows resized to another size.
pub(super) struct Resized<P> {
    source: P,
    vertical: Vec<Tap>,
    horizontal: Vec<Tap>,
}

impl<P: Prepared> Resized<P> {
    pub(super) fn new(source: P, size: [usize; 2]) -> Self {
        let [height, width] = source.size();
        Self { source, vertical: taps(height, size[0]), horizontal: taps(width, size[1]) }
    }

    /// The rows after `first` that need few enough rows of the source to be made together.
    fn group(&self, first: usize, end: usize) -> Range<usize> {
        let low = self.vertical[first].low;
        let n = self.vertical[first..end].iter().take_while(|tap| tap.high < low + SOURCE_ROWS);
        first..first + n.count().max(1)
    }
}

impl<P: Prepared> Prepared for Resized<P> {
    fn channels(&self) -> usize {
        self.source.channels()
    }

    fn size(&self) -> [usize; 2] {
        [self.vertical.len(), self.horizontal.len()]
    }

    fn rows(&self, range: Range<usize>) -> Map {
        let width = self.horizontal.len();
        let mut out = Map::zeros(self.channels(), [range.len(), width]);
        let mut at = range.start;
        while at < range.end {
            let group = self.group(at, range.end);
            let taps = &self.vertical[group.clone()];
            let first = taps[0].low;
            let source = self.source.rows(first..taps[taps.len() - 1].high + 1);
            for (tap, y) in taps.iter().zip(group.start - range.start..) {
                let rows = [source.row(tap.low - first), source.row(tap.high - first)];
                blend(rows, tap.weight_high, &self.horizontal, out.row_mut(y));
            }
            at = group.end;
        }
        out
    }
}

/// One row from the two that it lies between.
fn blend([low, high]: [&[f32]; 2], weight: f32, horizontal: &[Tap], out: &mut [f32]) {
    let channels = out.len() / horizontal.len();
    let width = low.len() / channels;
    let lines = low.chunks_exact(width).zip(high.chunks_exact(width));
    for ((low, high), out) in lines.zip(out.chunks_exact_mut(horizontal.len())) {
        let line: Vec<f32> =
            low.iter().zip(high).map(|(a, b)| a * (1.0 - weight) + b * weight).collect();
        for (to, tap) in out.iter_mut().zip(horizontal) {
            *to = line[tap.low] * (1.0 - tap.weight_high) + line[tap.high] * tap.weight_high;
        }
    }
}

/// Resizes a map that is in memory.
pub(super) fn resized(map: Map, size: [usize; 2]) -> Map {
    Resized::new(Whole(map), size).rows(0..size[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ramp_is_doubled_as_pytorch_does() {
        let map = Map::from_planes(&[0.0, 4.0, 8.0, 12.0], 1, [2, 2]);
        let doubled = resized(map, [4, 4]).to_planes();
        assert_eq!(doubled[..4], [0.0, 1.0, 3.0, 4.0]);
        assert_eq!(doubled[4..8], [2.0, 3.0, 5.0, 6.0]);
    }
}
