//! A fault as the catalogues write it down, before its change is given.

/// Name, description and origin of a fault.
pub(crate) struct Draft {
    pub(crate) id: &'static str,
    pub(crate) text: &'static str,
    pub(crate) seen_in: &'static str,
}

/// Starts a fault with its name on the command line.
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

    /// The real port that had it, or one like it.
    pub(crate) fn seen_in(self, seen_in: &'static str) -> Self {
        Self { seen_in, ..self }
    }
}
