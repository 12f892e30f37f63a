//! What to start, resume, score or reuse; pure.
