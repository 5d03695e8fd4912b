//! A candidate's trace whose names and layouts are not those of the reference.

use std::{fs::File, path::Path, sync::Arc};

use ndarray::ArrayD;
use soundalike_convert::{Dtype, Npz, NpzEntry};

use crate::{
    ActivationTrace, CompareError, NameMap, Reference, TraceError, Window,
    alignment::{Alignment, Tensors},
    name_map::NOT_STAGES,
    trace::read,
};

impl ActivationTrace {
    /// Reads a trace like [`Self::open`]. If it lacks stages of `reference` on `window` by their names and has other arrays,
    /// the stages are found among these by similar names, by their values in any layout, or by their order.
    ///
    /// # Errors
    /// As [`Self::open`], and where the reference fails.
    pub fn aligned(
        path: &Path,
        names: &NameMap,
        reference: &mut dyn Reference,
        window: &Window,
    ) -> Result<Self, CompareError> {
        let mut trace = Self::open(path, names)?;
        let graph = reference.graph(window)?;
        let mut stages = graph.stages().iter().map(|stage| &stage.name);
        if stages.all(|name| trace.stages.contains_key(name)) {
            return Ok(trace);
        }
        let mut arrays = Arrays::of(path, &trace.origin)?;
        let is_stage = |name: &String| graph.get(name).is_some();
        let spare = |(name, _): &(String, Vec<usize>)| !is_stage(name) && !names.maps(name);
        if !arrays.names.iter().any(spare) {
            return Ok(trace);
        }
        let mut golden = Golden::of(reference, window)?;
        // A line of the map overrules.
        let mapped = |(name, _): &(String, _)| names.stage_of(name).map(str::to_owned);
        let taken: Vec<String> = arrays.names.iter().filter_map(mapped).collect();
        golden.0.retain(|(name, _)| !taken.contains(name));
        arrays.names.retain(|(name, _)| !names.maps(name));
        let found = Alignment::find(&mut golden, &mut arrays)?;
        trace.stages.retain(|name, _| taken.contains(name));
        for matched in &found.matches {
            let index = arrays
                .names
                .iter()
                .position(|(name, _)| *name == matched.name);
            let shape = golden.0.iter().find(|(name, _)| *name == matched.stage);
            if let (Some(index), Some((_, golden))) = (index, shape) {
                let values = matched.arranged(arrays.read(index)?, golden.shape());
                trace.stages.insert(matched.stage.clone(), values);
            }
        }
        trace.unused = found.unused;
        trace.matched = found.matches;
        Ok(trace)
    }
}

/// The golden outputs of a reference, in memory.
struct Golden(Vec<(String, Arc<ArrayD<f64>>)>);

impl Golden {
    fn of(reference: &mut dyn Reference, window: &Window) -> Result<Self, CompareError> {
        let mut golden = Vec::new();
        reference.run(window, &mut |stage| {
            golden.push((stage.stage.name.clone(), Arc::clone(&stage.golden)));
            Ok(true)
        })?;
        Ok(Self(golden))
    }
}

impl Tensors for Golden {
    type Error = CompareError;

    fn list(&self) -> Vec<(String, Vec<usize>)> {
        let golden = self.0.iter();
        golden
            .map(|(name, values)| (name.clone(), values.shape().to_vec()))
            .collect()
    }

    fn read(&mut self, index: usize) -> Result<ArrayD<f64>, CompareError> {
        Ok(self.0[index].1.as_ref().clone())
    }
}

/// The arrays of a candidate that may be stages.
struct Arrays {
    npz: Npz<File>,
    origin: String,
    names: Vec<(String, Vec<usize>)>,
}

impl Arrays {
    fn of(path: &Path, origin: &str) -> Result<Self, TraceError> {
        let npz = Npz::open(path)?;
        let may_be = |entry: &&NpzEntry| {
            let name = entry.name();
            let float = matches!(entry.dtype(), Some(Dtype::F16 | Dtype::F32 | Dtype::F64));
            let ours = ["floor.", "f32/"]
                .iter()
                .any(|start| name.starts_with(start));
            float && !ours && !entry.is_fortran_order() && !NOT_STAGES.contains(&name)
        };
        let named = |entry: &NpzEntry| (entry.name().to_owned(), entry.shape().to_vec());
        Ok(Self {
            names: npz.entries().iter().filter(may_be).map(named).collect(),
            npz,
            origin: origin.to_owned(),
        })
    }
}

impl Tensors for Arrays {
    type Error = CompareError;

    fn list(&self) -> Vec<(String, Vec<usize>)> {
        self.names.clone()
    }

    fn read(&mut self, index: usize) -> Result<ArrayD<f64>, CompareError> {
        Ok(read(&mut self.npz, &self.origin, &self.names[index].0)?)
    }
}
