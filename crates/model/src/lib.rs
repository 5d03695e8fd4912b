//! The networks, each once, on candle, with a probe at every stage
