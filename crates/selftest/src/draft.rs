//! The first half of a row in the catalogues of faults.

/// A fault without its change.
pub(crate) struct Draft {
    pub(crate) id: &'static str,
    pub(crate) text: &'static str,
    pub(crate) seen_in: &'static str,
}

/// Starts a fault with its id on the command line.
pub(crate) fn fault(id: &'static str) -> Draft {
    Draft {
        id,
        text: "",
        seen_in: "",
    }
}

impl Draft {
    /// What is wrong, in words.
    pub(crate) fn text(self, text: &'static str) -> Self {
        Self { text, ..self }
    }

    /// The real port that had it or a similar fault.
    pub(crate) fn seen_in(self, seen_in: &'static str) -> Self {
        Self { seen_in, ..self }
    }
}
