//! A reference that is run once and shown many times.

use soundalike_network::Graph;

use crate::{
    CompareError, EngineInfo, Input, Reference, ReferenceStage, Window, reference::Observer,
};

/// The stages of a reference on some windows, for a candidate that shows every stage. Comparing many candidates with it runs
/// the reference once.
#[derive(Debug, Clone)]
pub struct KeptReference {
    name: String,
    engine: EngineInfo,
    windows: Vec<KeptWindow>,
}

#[derive(Debug, Clone)]
struct KeptWindow {
    window: Window,
    graph: Graph,
    stages: Vec<ReferenceStage>,
}

impl KeptReference {
    /// Runs `reference` on each of `windows`.
    ///
    /// # Errors
    /// [`CompareError`] if the reference fails.
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
            kept.windows.push(KeptWindow {
                window: window.clone(),
                graph: reference.graph(window)?,
                stages,
            });
        }
        Ok(kept)
    }

    fn kept(&self, window: &Window) -> Result<&KeptWindow, CompareError> {
        let masks = |window: &Window| window.masks.as_ref().map(|masks| masks.name.clone());
        let found = self.windows.iter().find(|KeptWindow { window: kept, .. }| {
            (&kept.uri, kept.start, masks(kept)) == (&window.uri, window.start, masks(window))
                && kept.waveform == window.waveform
        });
        found.ok_or_else(|| CompareError::OtherInput {
            window: Input::new(window).to_string(),
        })
    }
}

impl Reference for KeptReference {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn engine(&self) -> EngineInfo {
        self.engine.clone()
    }

    fn graph(&self, window: &Window) -> Result<Graph, CompareError> {
        Ok(self.kept(window)?.graph.clone())
    }

    fn run(&mut self, window: &Window, see: &mut Observer<'_>) -> Result<(), CompareError> {
        for stage in &self.kept(window)?.stages {
            see(stage)?;
        }
        Ok(())
    }

    /// The kept floors are those of a candidate that shows every stage.
    fn follows_fusion(&self) -> bool {
        false
    }
}
