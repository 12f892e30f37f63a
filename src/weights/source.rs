//! The source of one of our tensors in a weight file.
//!
//! Made by a naming scheme, used by the plan that holds a file against an encoder and by the
//! loader that fills it.

/// The part of a weight file that the values of one of our tensors are read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    Whole(String),
    /// Part `index` of `of` equal parts of the tensor's rows.
    Part {
        name: String,
        index: usize,
        of: usize,
    },
    /// The tensor `[1, n, dim]` after one row of zeros.
    AfterZeros(String),
    /// No tensor: files of this naming do not store it, and its default value holds.
    Default(Implied),
}

/// The value of a tensor that files of a naming do not store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Implied {
    /// RoPE periods by the official formula.
    Formula,
    /// Biases of q and v, which were trained to zero and left out.
    ZeroBias,
}

impl Implied {
    pub fn words(self) -> &'static str {
        match self {
            Self::Formula => "RoPE periods: not stored, the formula's in f32",
            Self::ZeroBias => "biases of q and v: not stored in this naming, zero",
        }
    }
}

impl Source {
    /// The tensor of the file that is read; `None` where none is.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Whole(name) | Self::Part { name, .. } | Self::AfterZeros(name) => Some(name),
            Self::Default(_) => None,
        }
    }

    /// The shape of our tensor if the file's tensor has the shape `stored`; `None` if that cannot
    /// be split so.
    pub fn shape(&self, stored: &[usize]) -> Option<Vec<usize>> {
        let mut shape = stored.to_vec();
        match self {
            Self::Whole(_) => {}
            Self::Part { of, .. } => match shape.first_mut() {
                Some(rows) if *rows % of == 0 => *rows /= of,
                _ => return None,
            },
            Self::AfterZeros(_) => *shape.get_mut(1)? += 1,
            Self::Default(_) => return None,
        }
        Some(shape)
    }
}
