//! Checkpoints read without running anything in them, and the bundle they become
