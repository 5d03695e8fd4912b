//! A fault in the candidate is found, at its stage and nowhere else.

use soundalike_convert::Bundle;
use soundalike_diarize::segmentation::Segmenter;
use soundalike_harness::{
    Decoding, Fault, ReferenceTrace, Report, Verdict, compare_activations, compare_network,
};
use soundalike_model::{DType, Device, Probe, PyanNet, Result, Tensor};

fn embedded() -> Bundle {
    soundalike_weights::segmentation().expect("the embedded bundle opens")
}

fn compare(fault: Option<Fault>) -> Report {
    let bundle = embedded();
    let network = PyanNet::load(&bundle, DType::F32, &Device::Cpu).expect("a network");
    let segmenter = Segmenter::new(&bundle, DType::F32, &Device::Cpu).expect("a powerset network");
    let decoding = Decoding {
        powerset: segmenter.powerset().clone(),
        grid: segmenter.grid(),
    };
    let mut reference = ReferenceTrace::embedded().expect("the built-in trace");
    compare_network(&network, &mut reference, Some(&decoding), fault).expect("a comparison")
}

#[test]
fn without_a_fault_there_is_no_source() {
    let report = compare(None);
    assert_eq!(report.source, Vec::<String>::new());
    assert!(
        report
            .stages
            .iter()
            .all(|stage| stage.verdict == Verdict::Exact)
    );
    assert_eq!(report.task.map(|task| task.der), Some(0.0));
}

#[test]
fn relu_for_leaky_relu_is_blamed_on_its_two_stages_only() {
    let report = compare(Some(Fault::ReluForLeakyRelu));
    assert_eq!(
        report.source,
        ["linear.0.leaky_relu", "linear.1.leaky_relu"]
    );
    // The victims fail free-running: this is what hides the culprit from a comparison of outputs alone.
    let victim = report
        .stages
        .iter()
        .find(|stage| stage.name == "linear.1")
        .expect("linear.1");
    assert_eq!(victim.verdict, Verdict::Exact);
    assert!(
        victim
            .free_running
            .as_ref()
            .is_some_and(|error| error.r > 1e3)
    );
}

/// Doubles one value of one stage.
struct Substitute<'a>(&'static str, &'a mut Vec<(String, Tensor)>);

impl Probe for Substitute<'_> {
    fn see(&mut self, name: &str, value: Tensor) -> Result<Tensor> {
        let value = if name == self.0 {
            (value * 1.01)?
        } else {
            value
        };
        self.1.push((name.to_owned(), value.clone()));
        Ok(value)
    }
}

#[test]
fn another_engines_error_is_blamed_on_the_first_stage_that_is_wrong() {
    let network = PyanNet::load(&embedded(), DType::F32, &Device::Cpu).expect("a network");
    let mut reference = ReferenceTrace::embedded().expect("the built-in trace");
    let waveform = reference.waveform().expect("a waveform");
    let shape = waveform.shape().to_vec();
    let waveform = Tensor::from_vec(waveform.into_raw_vec_and_offset().0, shape, &Device::Cpu);
    let mut seen = Vec::new();
    network
        .forward(
            &waveform.expect("a tensor"),
            &mut Substitute("lstm.2", &mut seen),
        )
        .expect("a forward pass");
    let activations = seen
        .into_iter()
        .filter(|(name, _)| name != "linear.0")
        .map(|(name, value)| {
            let values: Vec<f64> = value.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?;
            Ok((
                name,
                ndarray::ArrayD::from_shape_vec(value.dims(), values).expect("its shape"),
            ))
        })
        .collect::<Result<_>>()
        .expect("activations");
    let report = compare_activations(&activations, &mut reference, None).expect("a comparison");
    assert_eq!(report.source, ["lstm.2"]);
    let lost = report
        .stages
        .iter()
        .filter(|stage| stage.verdict == Verdict::NotObserved);
    assert_eq!(
        lost.map(|stage| stage.name.as_str()).collect::<Vec<_>>(),
        ["linear.0"]
    );
}

#[test]
fn looking_changes_nothing() {
    let network = PyanNet::load(&embedded(), DType::F32, &Device::Cpu).expect("a network");
    let mut reference = ReferenceTrace::embedded().expect("the built-in trace");
    let waveform = reference.waveform().expect("a waveform");
    let shape = waveform.shape().to_vec();
    let waveform = Tensor::from_vec(waveform.into_raw_vec_and_offset().0, shape, &Device::Cpu)
        .expect("a tensor");
    let run = |probe: &mut dyn Probe| -> Vec<f32> {
        let scores = network.forward(&waveform, probe).expect("the forward pass");
        scores
            .flatten_all()
            .and_then(|scores| scores.to_vec1())
            .expect("scores")
    };
    let silent = run(&mut soundalike_model::Silent);
    assert_eq!(run(&mut soundalike_harness::Recorder::default()), silent);
}
