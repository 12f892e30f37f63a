//! Ordered, bounded parallel loading.
