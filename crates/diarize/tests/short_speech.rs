//! What is left out behind the last speech of a window.

mod support;

use soundalike_convert::{ModelRole, PipelineDirectory};
use soundalike_diarize::audio::Audio;
use soundalike_model::{Device, Engine, Input, NoProbe, Probe, Result, Tensor, load};
use support::assets;

/// Frames of a segmentation of ten seconds, and samples.
const FRAMES: usize = 589;
const SAMPLES: usize = 160_000;

/// Looks at one stage, so that the whole window is computed.
struct Watching;

impl Probe for Watching {
    fn observe(&mut self, _: &str, value: Tensor) -> Result<Tensor> {
        Ok(value)
    }

    fn needs(&self, name: &str) -> bool {
        name == "resnet.seg_1"
    }
}

mod assets {
    use super::*;

    #[test]
    #[ignore = "needs SOUNDALIKE_ASSETS"]
    fn an_embedding_has_the_bits_of_the_whole_window_wherever_speech_ends() {
        let assets = assets();
        let pipeline = PipelineDirectory::read(&assets.join("pipelines/community-1-synthetic"));
        let pipeline = pipeline.expect("a pipeline");
        let bundle = pipeline.model(ModelRole::Embedding).expect("an embedding");
        let audio = Audio::read(&assets.join("audio/sample.wav"), 16_000).expect("audio");
        let samples = audio.samples[6 * 16_000..][..SAMPLES].to_vec();
        let waveform =
            Tensor::from_vec(samples, (1, 1, SAMPLES), &Device::Cpu).expect("a waveform");
        let network = load(bundle, &Engine::default()).expect("a network");
        let bits = |windows: usize, masks: &Tensor, probe: &mut dyn Probe| -> Vec<u32> {
            let again = |x: &Tensor| Tensor::cat(&vec![x; windows], 0).expect("windows");
            let input = Input {
                waveforms: &again(&waveform),
                masks: Some(&again(masks)),
            };
            let vectors = network.forward(input, probe);
            let values = vectors.and_then(|x| x.flatten_all()?.to_vec1::<f32>());
            let values = values.expect("embeddings");
            values.into_iter().map(f32::to_bits).collect()
        };
        // Nobody; one frame; places within a tile of the deepest layers; all.
        for end in [0, 1, 59, 64, 69, 74, 150, 300, FRAMES] {
            // One speaks to the end, another not as long, a third not at all.
            let mask = |end: usize| (0..FRAMES).map(move |frame| f32::from(frame < end));
            let masks = [end, end / 3, 0].into_iter().flat_map(mask).collect();
            let masks = Tensor::from_vec(masks, (1, 3, FRAMES), &Device::Cpu).expect("masks");
            let whole = bits(1, &masks, &mut Watching);
            assert_eq!(bits(1, &masks, &mut NoProbe), whole, "{end} frames");
            // As many windows as threads: each on a thread of its own, some rows of the first layers at a time.
            let windows = rayon::current_num_threads().max(2);
            let many = bits(windows, &masks, &mut NoProbe);
            assert_eq!(
                many,
                whole.repeat(windows),
                "{end} frames, {windows} windows"
            );
        }
    }
}
