//! Corruptions of ImageNet-C.
