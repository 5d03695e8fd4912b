//! Annotations, RTTM and UEM files, and the metrics of diarization
