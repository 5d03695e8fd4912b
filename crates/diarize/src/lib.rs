//! The diarization pipeline: audio in, speaker turns out
