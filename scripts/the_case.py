"""Tells the case of the 88.6 % with the numbers of a comparison.

    the_case.py REPORT.json REPORT.md    writes the text to stdout; scripts/reports.sh calls it
"""

import json
import sys

report = json.load(open(sys.argv[1]))
rendered = open(sys.argv[2]).read()
of, budget = report["provenance"], report["budget"]


def figure(x):
    if 1e-3 <= abs(x) < 1e4:
        return f"{x:.0f}" if abs(x) >= 100 else f"{x:.3g}"
    digits, exponent = f"{x:.1e}".split("e")
    return f"{digits}e{int(exponent)}"


windows = "\n".join(
    f"| {i['start']:.0f}-{i['start'] + i['duration']:.0f} s | {i['output']['correlation']:.4f} "
    f"| {100 * i['output']['frame_agreement']:.1f} % | {i['output']['max_abs']:.2f} | {i['output']['mean_l2']:.2f} "
    f"| {i['task']['der']:.3f} |"
    for i in report["inputs"]
)
stages = {stage["name"]: stage for stage in report["stages"]}
sources = "\n".join(
    f"- `{name}`: fed with the reference's own input, its error is {figure(stages[name]['teacher_forced']['r'])} times "
    f"PyTorch's own f32 rounding"
    for name in report["source"]
)
gains = [s for s in budget["stages"] if s["name"] not in report["source"]]
largest = max(gains, key=lambda s: s["gain"])
print(f"""# The case of the 88.6 %

```sh
{of['command']}
```

soundalike {of['soundalike']} on {of['cpu']}, {of['threads']} threads; libtorch on {of['reference']['threads']} thread.
`scripts/reports.sh` writes this text anew; [the page with the pictures](the-88.6-percent.html) is of the same run.

A public port of segmentation-3.0 to another framework reached a correlation of 88.6 % and 58.7 % of equal decisions. Its
author checked every layer by hand, found each of them perfect, and shipped it: what remained was "floating-point
accumulation, expected for deep recurrent networks". It was a bug. pyannote applies LeakyReLU(0.01) after each of the two
linear layers; the port applied ReLU, and so did the hand-written test of that layer, on *both* sides. Here the same
mistake is put into our network, on the 30 s of speech that come with pyannote.audio.

## What a user sees

| window | correlation | equal decisions | largest error | mean L2 per frame | DER |
|---|---:|---:|---:|---:|---:|
{windows}

A band of correlations ("0.85 to 0.95 is good") passes some of these windows and fails others, for one and the same bug. A
bar of 99 % would have to know which window it is asked about.

## What the tool says

{sources}

No other stage is named, on any of the windows: all that comes after them is exact on the reference's own input and only
passes their error on. That is why the layers looked perfect, one by one, when the test had the same mistake in it.

## Why it is not floating-point accumulation

"Small errors compound" can be measured. For each stage, its own error (fed with the reference's input) is put into
the f64 reference, and what becomes of it at the output is its *gain*. Root mean squares over all windows:

| | error at the output |
|---|---:|
| if every stage were as exact as PyTorch's own f32 | {figure(budget['rounding'])} |
| predicted by this candidate's own errors, stage by stage | {figure(budget['predicted'])} |
| observed | {figure(budget['observed'])} |

Rounding explains {figure(100 * budget['rounding'] / budget['observed'])} % of what is observed. Among the stages without
the mistake, the largest gain is {figure(largest['gain'])}, at `{largest['name']}`: nothing here grows exponentially. Saturating
gates contract, and log-softmax cannot make a difference more than twice as large.

## The report

#{rendered}""", end="")
