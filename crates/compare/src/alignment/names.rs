//! Whether two names of different frameworks mean one stage.

/// How well a name fits a stage, from worst to best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fit {
    /// The stage's segments end the scope of the name: `model.encoder.fc1` of `encoder.fc1`, `/encoder/fc1/Add_output_0`.
    Scope,
    /// The same name but for separators.
    Path,
    /// The same name.
    Exact,
}

/// The parts of a name between separators: of PyTorch (`a.0.b`), ONNX (`/a.0/b/MatMul_output_0`), TensorFlow
/// (`a/b/Relu;x:0`) and JAX (`a/~/b`).
fn segments(name: &str) -> Vec<&str> {
    let parts = name.split(['.', '/', ':', ';', '~']);
    parts.filter(|part| !part.is_empty()).collect()
}

/// How `name` fits `stage`, if it does.
pub(super) fn fit(stage: &str, name: &str) -> Option<Fit> {
    if stage == name {
        return Some(Fit::Exact);
    }
    let (stage, mut name) = (segments(stage), segments(name));
    if stage.is_empty() || name.is_empty() {
        return None;
    }
    if stage == name {
        return Some(Fit::Path);
    }
    if ends_with(&name, &stage) {
        return Some(Fit::Scope);
    }
    // The last segment of ONNX is the operation.
    name.pop();
    ends_with(&name, &stage).then_some(Fit::Scope)
}

/// How much nearer two tensors are for their names, where their values do not tell: in units of the distance of fingerprints. The
/// operation counts, too: `layer.relu` and `/layer/Relu_output_0`.
pub(super) fn bonus(stage: &str, name: &str) -> f64 {
    if fit(stage, name).is_some() {
        return 2.0 * NAMED;
    }
    let (stage, name) = (segments(stage), segments(name));
    let same_operation = word(&stage) == word(&name);
    let same_scope = match (stage.split_last(), name.split_last()) {
        (Some((_, stage)), Some((_, name))) => !stage.is_empty() && ends_with(name, stage),
        _ => false,
    };
    NAMED * f64::from(u8::from(same_operation) + u8::from(same_operation && same_scope))
}

/// The operation in the last segment, without its number: `add#1`, `Add_output_0`, `add_5`.
fn word(name: &[&str]) -> String {
    let last = name.last().copied().unwrap_or_default();
    let letters = last.split(['_', '#']).next().unwrap_or_default();
    letters
        .trim_end_matches(|c: char| c.is_ascii_digit())
        .to_lowercase()
}

/// What the same operation is worth; the same scope as well is worth as much again.
const NAMED: f64 = 0.25;

fn ends_with(name: &[&str], end: &[&str]) -> bool {
    name.ends_with(end)
}
