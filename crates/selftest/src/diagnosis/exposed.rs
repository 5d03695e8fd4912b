//! Diagnosis of a stage that the candidate fuses with others, by an engine that exposes it.

use soundalike_compare::{
    Candidate, CompareError, Decode, Explanation, Reference, Report, Undiagnosed, Window, compare,
};
use soundalike_torch::BUILT;

use super::{Diagnostician, worst_window};
use crate::self_test::about;

impl Diagnostician<'_> {
    /// Diagnoses the first stage that `report` blames by `exposed`, the same network with every stage exposed, whose engine
    /// is called `engine`. If that network is right up to this stage, the fault is in what the candidate fuses.
    ///
    /// # Errors
    /// [`CompareError`] if a side fails.
    pub fn diagnose_by(
        &self,
        reference: &mut dyn Reference,
        (engine, exposed): (&str, &Candidate),
        windows: &[Window],
        decode: &dyn Decode,
        report: &Report,
    ) -> Result<Explanation, CompareError> {
        let stage = report.source.first();
        let window = worst_window(report, windows).map(std::slice::from_ref);
        let windows = window.unwrap_or_default();
        let about = about(reference, engine);
        let of_exposed = compare(reference, exposed, windows, decode, about)?;
        let position = |name: &String| report.stages.iter().position(|stage| stage.name == *name);
        let found = of_exposed.source.first();
        // A fault in a later stage is not the one that was blamed.
        if found.and_then(position) <= stage.and_then(position) && found.is_some() {
            let explanation = self.diagnose(reference, exposed, windows, &of_exposed)?;
            return Ok(match explanation {
                Explanation::Known(mut diagnosis) => {
                    diagnosis.engine = Some(engine.to_owned());
                    Explanation::Known(diagnosis)
                }
                Explanation::Unknown(mut undiagnosed) | Explanation::Fused(mut undiagnosed) => {
                    undiagnosed.engine = Some(engine.to_owned());
                    Explanation::Unknown(undiagnosed)
                }
            });
        }
        Ok(Explanation::Unknown(Undiagnosed {
            stage: stage.cloned(),
            reason: format!(
                "{engine}, which fuses no stages, is right up to this stage: the fault is in the candidate's fused kernels"
            ),
            tried: BUILT,
            engine: Some(engine.to_owned()),
            signature: None,
        }))
    }
}
