//! Traces, the two ways of running, and R: the error in units of the reference's own rounding
