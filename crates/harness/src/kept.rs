//! A reference that was run once and is shown as often as somebody asks.

use crate::{CompareError, EngineInfo, Input, Reference, ReferenceStage, Window, reference::See};

/// What a reference showed on some windows to a candidate that shows every stage. Many candidates can be compared with it,
/// and the reference runs no more.
#[derive(Debug, Clone)]
pub struct KeptReference {
    name: String,
    engine: EngineInfo,
    windows: Vec<(Window, Vec<ReferenceStage>)>,
}

impl KeptReference {
    /// Runs `reference` on each of `windows`.
    ///
    /// # Errors
    /// [`CompareError`] where it fails.
    pub fn of(reference: &mut dyn Reference, windows: &[Window]) -> Result<Self, CompareError> {
        let mut kept = Self {
            name: reference.name(),
            engine: reference.engine(),
            windows: Vec::new(),
        };
        for window in windows {
            let mut stages = Vec::new();
            reference.run(window, &mut |stage| {
                stages.push(stage.clone());
                Ok(true)
            })?;
            kept.windows.push((window.clone(), stages));
        }
        Ok(kept)
    }

    fn stages(&self, window: &Window) -> Result<&[ReferenceStage], CompareError> {
        let same = |kept: &Window| {
            let masks = |window: &Window| window.masks.as_ref().map(|masks| masks.name.clone());
            (&kept.uri, kept.start, masks(kept)) == (&window.uri, window.start, masks(window))
                && kept.waveform == window.waveform
        };
        let found = self.windows.iter().find(|(kept, _)| same(kept));
        let missing = || CompareError::OtherInput {
            window: Input::new(window).to_string(),
        };
        found
            .map(|(_, stages)| stages.as_slice())
            .ok_or_else(missing)
    }
}

impl Reference for KeptReference {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn engine(&self) -> EngineInfo {
        self.engine.clone()
    }

    fn names(&mut self, window: &Window) -> Result<Vec<String>, CompareError> {
        let stages = self.stages(window)?.iter();
        Ok(stages.map(|stage| stage.stage.name.clone()).collect())
    }

    fn run(&mut self, window: &Window, see: &mut See<'_>) -> Result<(), CompareError> {
        for stage in self.stages(window)? {
            see(stage)?;
        }
        Ok(())
    }

    /// The floors that were kept are those of a candidate that shows every stage.
    fn follows_fusion(&self) -> bool {
        false
    }
}
