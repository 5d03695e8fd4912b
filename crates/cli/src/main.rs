//! Speaker diarization that is provably the original: the command line
fn main() {}
