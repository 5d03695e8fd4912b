"""Claims about capture.py, on networks with random weights and the project's own sample. Needs no download."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import wavfile

import capture as c

SAMPLE = Path(__file__).parent.parent / "tests" / "data" / "sample.wav"

# Every kind of PyanNet there is, small where size does not matter: name -> (hyperparameters, multi-label)
NETWORKS = {
    "as segmentation-3.0": (dict(sincnet={"stride": 10}, lstm={"num_layers": 4, "dropout": 0.5}), False),
    "split lstm with dropout": (
        dict(sincnet={"stride": 10}, lstm={"hidden_size": 16, "num_layers": 3, "monolithic": False, "dropout": 0.5}),
        False),
    "unidirectional": (dict(sincnet={"stride": 10}, lstm={"hidden_size": 16, "bidirectional": False}), False),
    "no linear layers": (dict(sincnet={"stride": 10}, lstm={"hidden_size": 16}, linear={"num_layers": 0}), False),
    "multi-label": (dict(sincnet={"stride": 10}, lstm={"hidden_size": 16}), True),
    "stride 7": (dict(sincnet={"stride": 7}, lstm={"hidden_size": 16}), False),
}


def network(name="as segmentation-3.0"):
    from pyannote.audio.core.task import Problem, Resolution, Specifications
    from pyannote.audio.models.segmentation import PyanNet

    hyperparameters, multi_label = NETWORKS[name]
    torch.manual_seed(1)
    model = PyanNet(**hyperparameters)
    model.specifications = Specifications(
        problem=Problem.MULTI_LABEL_CLASSIFICATION if multi_label else Problem.MONO_LABEL_CLASSIFICATION,
        resolution=Resolution.FRAME, duration=10.0, classes=["a", "b", "c"],
        powerset_max_classes=None if multi_label else 2)
    model.build()
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "norm1d" in name:  # ones and zeros would hide a missing affine
                value.copy_(torch.rand_like(value) + 0.5)
    return model.eval().requires_grad_(False)


# pyannote's smallest filter bank that its networks take
BANDS = 8


def embedding(depth=34, bands=BANDS):
    """A WeSpeakerResNet with random weights and the norms' statistics of noise."""
    from pyannote.audio.models.embedding import wespeaker as package

    torch.manual_seed(1)
    model = package.BaseWeSpeakerResNet(num_mel_bins=bands)
    model.resnet = getattr(package.resnet, f"ResNet{depth}")(bands, 256, two_emb_layer=False)
    for norm in (m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)):
        norm.momentum = 1.0
        torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
        torch.nn.init.normal_(norm.bias, std=0.2)
    with torch.no_grad():
        model.train()(0.1 * torch.randn(1, 1, 16000))
    model.unspecified = True
    return model.eval().requires_grad_(False)


def some_masks(frames=35):
    """Two speakers who overlap, a silent one, one of a single frame."""
    masks = np.zeros((1, 4, frames), np.float32)
    masks[0, 0, 3:20] = masks[0, 1, 15:31] = masks[0, 3, 13] = 1
    return masks


def pair(name="as segmentation-3.0"):
    return network(name), network(name).double()


def speech(seconds=1.0, start=5.0):
    samples, rate = c.read_audio(SAMPLE)
    return c.window(samples, rate, SAMPLE, start=start, duration=seconds)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def captured():
    return c.capture("PyanNet", *pair(), speech())


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_stages_end_where_the_package_ends(name, dtype):
    model, x = network(name).to(dtype), torch.from_numpy(speech(0.5)).to(dtype)
    with torch.no_grad():
        ours, theirs = c.free_run(c.pyannet(model), x)["activation"], model(x)
    if dtype == torch.float32:
        assert torch.equal(ours, theirs)
    else:  # see capture.FOLLOWS
        assert (ours - theirs).abs().max() < 1e-12


@pytest.mark.parametrize("depth", [18, 34, 50])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("masked", [False, True])
def test_stages_of_embeddings_end_where_the_package_ends(depth, dtype, masked):
    model, x = embedding(depth).to(dtype), torch.from_numpy(speech(0.5)).to(dtype)
    masks = torch.from_numpy(some_masks()).to(dtype) if masked else None
    with torch.no_grad():
        ours = c.free_run(c.wespeaker(model, masked), x, masks)["resnet.seg_1"]
        theirs = model(x, weights=masks)
    assert ours.shape == theirs.shape == ((1, 4, 256) if masked else (1, 256))
    if dtype == torch.float32:
        assert torch.equal(ours, theirs)
    else:
        assert (ours - theirs).abs().max() < c.FOLLOWS


def test_a_chain_of_single_layers_is_the_monolithic_lstm_bit_for_bit():
    lstm, x = network().lstm, torch.randn(1, 100, 60)
    with torch.no_grad():
        y = x
        for layer in c.lstm_layers(lstm):
            y = layer(y)[0]
        assert torch.equal(y, lstm(x)[0])


@pytest.mark.parametrize("name", NETWORKS)
def test_elementary_stages_compute_what_the_modules_compute(name):
    stages = c.pyannet(network(name).double())
    with torch.no_grad():
        run = c.free_run(stages, torch.from_numpy(speech(0.3)).double())
        for stage in stages:
            if stage.elementary:
                other = stage.elementary(*(run[i] for i in stage.inputs))
                assert other.shape == run[stage.name].shape, stage.name
                assert (other - run[stage.name]).abs().max() < 1e-9, stage.name


def test_stage_names_are_the_designs(captured):
    sincnet = [f"sincnet.{n}" for n in
               "wav_norm1d conv1d.0.filters conv1d.0 conv1d.0.abs pool1d.0 norm1d.0 norm1d.0.leaky_relu "
               "conv1d.1 pool1d.1 norm1d.1 norm1d.1.leaky_relu conv1d.2 pool1d.2 norm1d.2 norm1d.2.leaky_relu".split()]
    lstm = [f"lstm.{n}{part}" for n in range(4) for part in (".forward", ".reverse", "")]
    rest = "linear.0 linear.0.leaky_relu linear.1 linear.1.leaky_relu classifier activation".split()
    assert [s["name"] for s in captured.stages] == sincnet + lstm + rest


def test_stage_names_of_embeddings_are_the_designs():
    basic = "conv1 bn1 bn1.relu conv2 bn2".split()
    bottleneck = "conv1 bn1 bn1.relu conv2 bn2 bn2.relu conv3 bn3".split()
    for depth, inner, projected in ((34, basic, (2, 3, 4)), (50, bottleneck, (1, 2, 3, 4))):
        names = "fbank fbank.centred resnet.conv1 resnet.bn1 resnet.bn1.relu".split()
        for layer, blocks in zip((1, 2, 3, 4), (3, 4, 6, 3)):
            for b in range(blocks):
                block = f"resnet.layer{layer}.{b}"
                shortcut = ["shortcut.0", "shortcut.1"] if b == 0 and layer in projected else []
                names += [f"{block}.{part}" for part in inner + shortcut + ["add"]] + [block]
        model = embedding(depth)
        assert [s.name for s in c.wespeaker(model, False)] == names + ["resnet.pool", "resnet.seg_1"]
        assert [s.name for s in c.wespeaker(model, True)] == names + ["weights", "resnet.pool", "resnet.seg_1"]


def test_a_silent_speaker_has_the_bias_and_masks_are_rows_once_time_is_pooled():
    model = embedding()
    result = c.capture("WeSpeakerResNet", model, embedding().double(), speech(0.5), some_masks())
    described = {s["name"]: s for s in result.stages}
    assert (described["weights"]["channel_axis"], described["weights"]["frame_axis"]) == (1, 2)
    assert (described["resnet.seg_1"]["channel_axis"], described["resnet.seg_1"]["frame_axis"]) == (2, 1)
    assert described["resnet.pool"]["inputs"] == ["resnet.layer4.2", "weights"]
    assert np.array_equal(result.arrays["masks"], some_masks())
    assert np.array_equal(result.arrays["resnet.seg_1"][0, 2], model.resnet.seg_1.bias.double().numpy())
    assert result.arrays["floor.free.frame/resnet.seg_1"].shape == (4,)
    assert not any(s["degenerate"] for s in result.stages)

    whole = c.capture("WeSpeakerResNet", model, embedding().double(), speech(0.5))
    last = whole.stages[-1]
    assert (last["shape"], last["channel_axis"], last["frame_axis"]) == ([1, 256], 1, None)
    assert "masks" not in whole.arrays


def test_golden_filters_are_computed_in_f64_from_f32_constants():
    model32, model64 = pair()
    bank32, bank64 = (m.sincnet.conv1d[0].filterbank for m in (model32, model64))
    assert torch.equal(bank64.n_, bank32.n_.double()) and torch.equal(bank64.window_, bank32.window_.double())
    filters = bank64.filters()
    assert filters.dtype == torch.float64
    assert not torch.equal(filters, filters.float().double())  # no f32 step on the way
    assert 0 < (filters - bank32.filters()).abs().max() < 1e-4


def test_lstm_layers_are_their_directions_side_by_side(captured):
    for stage in captured.stages:
        if stage["parts"]:
            parts = [captured.arrays[p] for p in stage["parts"]]
            assert np.array_equal(np.concatenate(parts, -1), captured.arrays[stage["name"]])


def test_floors_are_above_zero_on_speech_and_no_stage_is_degenerate(captured):
    for stage in captured.stages:
        assert not stage["degenerate"], stage["name"]
        for way in ("free", "forced"):
            assert captured.arrays[f"floor.{way}/{stage['name']}"][0] > 0, stage["name"]


def test_silence_is_degenerate_everywhere_but_in_the_filters():
    result = c.capture("PyanNet", *pair(), speech() * 0)
    assert [s["name"] for s in result.stages if not s["degenerate"]] == ["sincnet.conv1d.0.filters"]
    # torch's own floor at a norm over a constant is zero: the second reference gives it one
    assert result.arrays["floor.forced/sincnet.norm1d.1"][0] > 0


def test_what_follows_a_healthy_norm_is_not_degenerate():
    # quiet speech: variance below 1e-4 eps at the waveform, far above it after the first norm
    quiet = speech()
    quiet *= np.float32(np.sqrt(0.5e-9 / quiet.var()))
    result = c.capture("PyanNet", *pair(), quiet)
    assert [s["name"] for s in result.stages if s["degenerate"]] == [
        "sincnet.wav_norm1d", "sincnet.conv1d.0", "sincnet.conv1d.0.abs", "sincnet.pool1d.0"]


def test_floors_are_the_definition_written_out(captured):
    model32, _ = pair()
    golden = captured.arrays
    with torch.no_grad():
        forced = model32.linear[0](torch.from_numpy(golden["lstm.3"]).float()).double().numpy()
        own = c.free_run(c.pyannet(model32), torch.from_numpy(speech()))["linear.0"].double().numpy()
    for way, value in (("free", own), ("forced", forced)):
        error = value - golden["linear.0"]
        for slices, axes in (("", (0, 1, 2)), (".channel", (0, 1)), (".frame", (0, 2))):
            expected = np.sqrt((error**2).mean(axes))
            np.testing.assert_allclose(np.squeeze(golden[f"floor.{way}{slices}/linear.0"]), expected, rtol=1e-12)


def bundle(path, model, **changes):
    """What `soundalike convert` writes for an ONNX export: the filters built, no specifications."""
    from safetensors.torch import save_file

    tensors = {k: v.contiguous() for k, v in model.state_dict().items() if "filterbank" not in k}
    tensors["sincnet.conv1d.0.filters"] = model.sincnet.conv1d[0].filterbank.filters().contiguous()
    about = {"format": 1, **c.network_of("PyanNet", model), "specifications": None,
             "source": {"file": "x.onnx", "format": "onnx", "sha256": "0", "converter": "0"}, "notes": [], **changes}
    save_file(tensors, path, {"soundalike": json.dumps(about)})


def test_baked_filters_are_a_constant_without_a_floor(tmp_path):
    path, model = tmp_path / "m.safetensors", network()
    bundle(path, model)
    name, model32, model64 = c.load_model(path)
    x = torch.from_numpy(speech())
    with torch.no_grad():
        assert torch.equal(model32(x), model(x))
    assert c.network_of(name, model32)["hyperparameters"]["sincnet"]["filters"] == "baked"
    assert c.specifications_of(model32) is None
    result = c.capture(name, model32, model64, speech())
    filters = "sincnet.conv1d.0.filters"
    assert np.array_equal(result.arrays[filters], model.sincnet.conv1d[0].filterbank.filters().double().numpy())
    for floor in ("free", "forced.channel"):
        assert not result.arrays[f"floor.{floor}/{filters}"].any()


def test_the_command_writes_the_same_bytes_twice_in_order_of_execution(tmp_path):
    bundle(tmp_path / "m.safetensors", network("unidirectional"))
    for out in ("a.npz", "b.npz"):
        assert c.main([str(tmp_path / "m.safetensors"), str(SAMPLE), "--start", "5", "--duration", "0.5",
                       "--pad-to", "0.7", "--clip", "3", "-o", str(tmp_path / out)]) == 0
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.npz", "b.npz", "m.safetensors"]

    trace = np.load(tmp_path / "a.npz")
    manifest = json.loads(bytes(trace["manifest"]))
    assert manifest["audio"]["transform"] == {"clip": 3.0, "pad_to": 0.7}
    assert trace["waveform"].shape == (1, 1, 11200) and not trace["waveform"][..., 8000:].any()
    assert trace.files[:2] == ["manifest", "waveform"] and trace.files[-1] == "f32/activation"
    names = [s["name"] for s in manifest["stages"]]
    assert [n for n in trace.files if n in names] == names
    for stage in manifest["stages"]:
        golden = trace[stage["name"]]
        assert golden.dtype == np.float64 and list(golden.shape) == stage["shape"]
        assert len(trace[f"floor.free.channel/{stage['name']}"]) == stage["shape"][stage["channel_axis"]]
        frames = f"floor.forced.frame/{stage['name']}"
        assert (frames in trace.files) == (stage["frame_axis"] is not None)
        if frames in trace.files:
            assert len(trace[frames]) == stage["shape"][stage["frame_axis"]]
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        assert {i.date_time for i in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_an_embedding_bundle_gives_the_network_and_its_trace_holds_the_masks(tmp_path):
    from safetensors.torch import save_file

    model, path = embedding(), tmp_path / "m.safetensors"
    tensors = {k: v.contiguous() for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")}
    about = {"format": 1, **c.network_of("WeSpeakerResNet", model), "specifications": None,
             "source": {"file": "x.bin"}, "notes": []}
    save_file(tensors, path, {"soundalike": json.dumps(about)})
    network, model32, _ = c.load_model(path)
    with torch.no_grad():
        assert torch.equal(model32(torch.from_numpy(speech())), model(torch.from_numpy(speech())))
    assert c.network_of(network, model32) == c.network_of("WeSpeakerResNet", model)

    np.savez(tmp_path / "masks.npz", weights=some_masks())
    assert c.main([str(path), str(SAMPLE), "--start", "5", "--duration", "0.5", "--masks", str(tmp_path / "masks.npz"),
                   "--stored", "-o", str(tmp_path / "out.npz")]) == 0
    trace = np.load(tmp_path / "out.npz")
    assert trace.files[:3] == ["manifest", "waveform", "masks"] and trace.files[-1] == "f32/resnet.seg_1"
    manifest = json.loads(bytes(trace["manifest"]))
    assert manifest["masks"] == {"file": "masks.npz", "sha256": c.sha256(tmp_path / "masks.npz")}
    assert manifest["network"]["hyperparameters"]["depth"] == 34 and manifest["specifications"] is None


def write_wav(path, samples, rate=16000):
    wavfile.write(path, rate, samples)
    return path


@pytest.mark.parametrize("samples, expected", [
    (np.array([-32768, 16384], np.int16), [-1, 0.5]),
    (np.array([0, 192], np.uint8), [-1, 0.5]),
    (np.array([-(2**31), 2**30], np.int32), [-1, 0.5]),
    (np.array([-1, 0.5], np.float32), [-1, 0.5]),
    (np.array([[0.5, -1.5], [1, 0]], np.float32), [-0.5, 0.5]),
])
def test_samples_are_read_as_pyannote_reads_them(tmp_path, samples, expected):
    read, rate = c.read_audio(write_wav(tmp_path / "x.wav", samples))
    assert rate == 16000 and read.dtype == np.float32 and read.tolist() == expected


def bad_inputs(folder):
    """What is wrong -> (model, audio, options, a part of the message)"""
    model = folder / "m.safetensors"
    bundle(model, network("unidirectional"))
    bundle(folder / "newer.safetensors", network("unidirectional"), format=2)
    bundle(folder / "other.safetensors", network("unidirectional"), architecture="Plda")
    (folder / "text.wav").write_text("hello")
    (folder / "text.bin").write_text("hello")
    tone = np.zeros(16000, np.float32)
    np.savez(folder / "masks.npz", weights=some_masks())
    write_wav(folder / "8k.wav", tone, 8000)
    write_wav(folder / "nan.wav", np.where(np.arange(16000) == 5, np.float32("nan"), tone))
    return {
        "no model": (folder / "none.bin", SAMPLE, [], "no such file"),
        "text as model": (folder / "text.bin", SAMPLE, [], "cannot load this checkpoint"),
        "newer bundle": (folder / "newer.safetensors", SAMPLE, [], "bundle format 2"),
        "other network": (folder / "other.safetensors", SAMPLE, [], "the network is a Plda"),
        "no audio": (model, folder / "none.wav", [], "no such audio file"),
        "text as audio": (model, folder / "text.wav", [], "cannot read this as WAV"),
        "other rate": (model, folder / "8k.wav", [], "8000 Hz"),
        "not finite": (model, folder / "nan.wav", [], "not finite"),
        "past the end": (model, SAMPLE, ["--start", "29.5", "--duration", "1"], "no window from 29.5 s to 30.5 s"),
        "too short": (model, SAMPLE, ["--duration", "0.05"], "too few"),
        "masks of a segmentation": (model, SAMPLE, ["--masks", str(folder / "masks.npz")], "takes no masks"),
        "padded to less": (model, SAMPLE, ["--duration", "1", "--pad-to", "0.5"], "longer already"),
    }


def test_bad_input_gives_one_line_exit_1_and_no_file(tmp_path, capsys):
    failures = []
    for case, (model, audio, options, words) in bad_inputs(tmp_path).items():
        code = c.main([str(model), str(audio), *options, "-o", str(tmp_path / "out.npz")])
        said = capsys.readouterr().err
        if code != 1 or words not in said or said.count("\n") != 1 or list(tmp_path.glob("*out.npz*")):
            failures.append((case, code, said))
    assert not failures
    assert c.main([str(tmp_path / "m.safetensors"), str(SAMPLE), "-o", str(tmp_path / "none" / "out.npz")]) == 1
    assert "there is no folder" in capsys.readouterr().err


def test_the_committed_trace_is_of_the_committed_sample():
    path = Path(__file__).parent.parent / "crates/selftest/captured/segmentation-3.0_1s.npz"
    trace = np.load(path)
    manifest = json.loads(bytes(trace["manifest"]))
    audio = manifest["audio"]
    assert path.stat().st_size < 6e6
    assert audio["sha256"] == c.sha256(SAMPLE), "the sample changed: capture again as README.md says"
    assert np.array_equal(trace["waveform"], speech(audio["duration"], audio["start"]))
    assert not any(s["degenerate"] for s in manifest["stages"])
    # two people alone and both at once: the window shows what powersets are for
    assert len(np.unique(trace["activation"].argmax(-1))) >= 3
