//! One document through every renderer, with whole outputs; and text that a format would interpret.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use ndarray::array;
use soundalike_metrics::{Annotation, DiarizationErrorRate, Turn};

use super::{
    picture::{Timeline, scatter},
    terminal::Screen,
    *,
};

/// A document with every kind of block.
fn sample() -> Document {
    let table = Table::new("stage | +shape | >error\n% | bars | verdict");
    let mut table = table.with_bars(3, ["teacher-forced", "free-running"]);
    let row = |name: &str, error: &str, bars, tone, verdict: &str| {
        Row::new([
            Cell::Code(name.to_owned()),
            "1 × 2".into(),
            error.into(),
            Cell::Bars(bars),
            Cell::Toned(tone, verdict.to_owned()),
        ])
    };
    let exact = |name: &str| row(name, "0.10", [Some(1.0), Some(2.0)], Tone::Good, "exact");
    table.rows.push(Row {
        parts: vec![exact("conv.0"), exact("conv.1")],
        ..exact("conv.0 .. conv.1")
    });
    let unseen = row("norm", "-", [None, None], Tone::Neutral, "not observed");
    table.rows.push(Row::folded_away([unseen]));
    let bars = [Some(f64::NAN), Some(100.0)];
    table.rows.push(Row {
        marked: true,
        ..row(
            "linear.0.leaky_relu",
            "12.50",
            bars,
            Tone::Bad,
            "structural",
        )
    });
    Document {
        title: "a_port against the original".to_owned(),
        command: Some("soundalike compare 'a `b` c'".to_owned()),
        blocks: vec![
            Block::Facts(vec![
                Item::from("on sample 0-10 s".to_owned()),
                Item {
                    text: "gate: FAILED".to_owned(),
                    details: vec!["because of a test".to_owned()],
                },
            ]),
            Block::Finding(
                Tone::Bad,
                "Not rounding: linear.0.leaky_relu is wrong.".to_owned(),
            ),
            Block::Table(table),
            Block::Note("below 4 it is rounding".to_owned()),
            Block::Heading("Left out".to_owned()),
            Block::List(vec![Item::from("windows over 2 s".to_owned())]),
            Block::Paragraph("One sentence.".to_owned()),
            Block::Paragraph("Another.".to_owned()),
            Block::PageOnly(vec![
                Block::Heading("Output".to_owned()),
                Block::Pictures(vec![scatter::draw(
                    array![[0.0_f32, 1.0]].view(),
                    array![[0.0_f32, 1.0]].view(),
                )]),
            ]),
        ],
    }
}

#[test]
fn a_terminal_shows_it_as_aligned_columns() {
    let text = terminal::render(&sample(), Screen::default());
    assert_eq!(
        text,
        "\
a_port against the original
on sample 0-10 s
gate: FAILED
  because of a test

Not rounding: linear.0.leaky_relu is wrong.

   stage                error  0.1        1e6  verdict
                            %
   conv.0 .. conv.1      0.10  ██▄             exact
 > linear.0.leaky_relu  12.50  ██████▀▀▀▀▀▀▀▀  structural
▀ teacher-forced   ▄ free-running

below 4 it is rounding

Left out
- windows over 2 s

One sentence.
Another.

reproduce: soundalike compare 'a `b` c'
"
    );
    let unfolded = Screen {
        unfolded: true,
        ..Screen::default()
    };
    let text = terminal::render(&sample(), unfolded);
    for line in [
        "   conv.0                0.10  ██▄             exact\n   conv.1  ",
        "\n   norm                     -                  not observed\n",
    ] {
        assert!(text.contains(line), "{text}");
    }
    assert!(!text.contains("conv.0 .. conv.1"), "{text}");
}

#[test]
fn markdown_folds_the_single_rows_away() {
    assert_eq!(
        markdown::render(&sample(), 2),
        "\
## a\\_port against the original

```sh
soundalike compare 'a `b` c'
```

- on sample 0-10 s
- gate: FAILED
  - because of a test

**Not rounding: linear.0.leaky\\_relu is wrong.**

| stage | error % | verdict |
|---|---:|---|
| `conv.0 .. conv.1` | 0.10 | exact |
| **> `linear.0.leaky_relu`** | 12.50 | structural |

<details><summary>all 4 rows</summary>

| stage | error % | verdict |
|---|---:|---|
| `conv.0` | 0.10 | exact |
| `conv.1` | 0.10 | exact |
| `norm` | - | not observed |
| **> `linear.0.leaky_relu`** | 12.50 | structural |

</details>

below 4 it is rounding

### Left out

- windows over 2 s

One sentence.

Another.
"
    );
}

#[test]
fn a_page_has_all_of_it() {
    let page = html::render(&sample());
    let (head, body) = page.split_once("</style></head>").unwrap();
    assert!(
        head.starts_with("<!DOCTYPE html><html lang=\"en\"><head>"),
        "{head}"
    );
    let row = |kind: &str, name: &str| {
        format!(
            "<tr class=\"{kind}\"><td class=\"text\"><code>{name}</code></td><td class=\"text\">1 × 2</td>\
             <td>0.10</td><td><div class=\"track\"><i class=\"upper\" style=\"width:14.3%\"></i>\
             <i class=\"lower\" style=\"width:18.6%\"></i></div></td>\
             <td class=\"text\"><span class=\"good\">exact</span></td></tr>"
        )
    };
    let (before, picture) = body.split_once("<div class=\"pictures\">").unwrap();
    assert_eq!(
        before,
        [
            "<body><h1>a_port against the original</h1><pre>soundalike compare 'a `b` c'</pre>",
            "<ul class=\"facts\"><li>on sample 0-10 s</li>",
            "<li>gate: FAILED<ul><li>because of a test</li></ul></li></ul>",
            "<p class=\"finding bad\">Not rounding: linear.0.leaky_relu is wrong.</p>",
            "<p class=\"soft legend\"><i class=\"upper\"></i>teacher-forced<i class=\"lower\"></i>free-running. The dark line is at 4.</p>",
            "<div class=\"wide\"><p><label><input class=\"fold\" type=\"checkbox\"> fold rows that pass</label></p>",
            "<table><tr><th class=\"text\">stage</th><th class=\"text\">shape</th><th>error %</th>",
            "<th><div class=\"scale\"><span style=\"left:14.3%\">1</span><span style=\"left:42.9%\">100</span>",
            "<span style=\"left:71.4%\">1e4</span><span style=\"left:100.0%\">1e6</span></div></th>",
            "<th class=\"text\">verdict</th></tr>",
            &row("sum", "conv.0 .. conv.1"),
            &row("part", "conv.0"),
            &row("part", "conv.1"),
            "<tr class=\"part\"><td class=\"text\"><code>norm</code></td><td class=\"text\">1 × 2</td><td>-</td>",
            "<td><div class=\"track\"></div></td>",
            "<td class=\"text\"><span class=\"neutral\">not observed</span></td></tr>",
            "<tr class=\"single marked\"><td class=\"text\">&gt; <code>linear.0.leaky_relu</code></td>",
            "<td class=\"text\">1 × 2</td><td>12.50</td>",
            "<td><div class=\"track\"><i class=\"upper\" style=\"width:100.0%\"></i>",
            "<i class=\"lower\" style=\"width:42.9%\"></i></div></td>",
            "<td class=\"text\"><span class=\"bad\">structural</span></td></tr></table></div>",
            "<p class=\"soft\">below 4 it is rounding</p>",
            "<h2>Left out</h2><ul><li>windows over 2 s</li></ul><p>One sentence.</p><p>Another.</p>",
            "<h2>Output</h2>",
        ]
        .concat()
    );
    assert!(picture.starts_with("<figure class=\"scatter\"><svg viewBox=\"0 0 80 80\""));
    assert!(picture.ends_with("</figure></div></body></html>\n"));
}

#[test]
fn a_spreadsheet_gets_the_single_rows() {
    let Some(Block::Table(table)) = sample().blocks.into_iter().nth(2) else {
        unreachable!("the third block is the table");
    };
    assert_eq!(
        csv::render(&table),
        "stage,shape,error %,bars,verdict\n\
         conv.0,1 × 2,0.10,,exact\n\
         conv.1,1 × 2,0.10,,exact\n\
         norm,1 × 2,-,,not observed\n\
         linear.0.leaky_relu,1 × 2,12.50,,structural\n"
    );
}

/// A document with `text` in every place for text.
fn everywhere(text: &str) -> Document {
    let text = || text.to_owned();
    let mut table = Table::new("name | >number");
    table.row([text(), text()]);
    table.row([Cell::Code(text()), Cell::Toned(Tone::Bad, text())]);
    let reference = Annotation::from_turns(text(), [Turn::new(0.0, 1.0, text())]);
    let timeline = Timeline::new(
        DiarizationErrorRate::default(),
        &reference,
        &reference,
        None,
    );
    Document {
        title: text(),
        command: Some(text()),
        blocks: vec![
            Block::Heading(text()),
            Block::Paragraph(text()),
            Block::Finding(Tone::Bad, text()),
            Block::Note(text()),
            Block::Facts(vec![Item::from(text())]),
            Block::List(vec![Item {
                text: text(),
                details: vec![text()],
            }]),
            Block::Table(table),
            Block::Pictures(vec![timeline.draw()]),
        ],
    }
}

/// Markup that the name of a file, a speaker or a stage must not put into a report.
const HOSTILE: &str =
    "<script>alert(1)</script>|`x`|\u{1b}[31m\n# *a* _b_ [c](d) &lt; $1$ ~e~ \\|\r\n```\n\"</pre>'";

#[test]
fn no_text_leaves_its_place_in_markdown() {
    let text = markdown::render(&everywhere(HOSTILE), 1);
    let mut lines = text.lines();
    assert_eq!(
        lines.next().unwrap(),
        "# \\<script\\>alert(1)\\</script\\>\\|\\`x\\`\\|\u{fffd}\\[31m\u{fffd}\\# \\*a\\* \\_b\\_ \\[c\\](d) \\&lt; \
         \\$1\\$ \\~e\\~ \\\\\\|\u{fffd}\u{fffd}\\`\\`\\`\u{fffd}\"\\</pre\\>'"
    );
    // The fence is longer than any in the command.
    assert_eq!(lines.nth(1).unwrap(), "````sh");
    assert!(lines.next().unwrap().starts_with("<script>alert(1)"));
    assert_eq!(lines.next().unwrap(), "````");
    for line in lines {
        // What the backslashes escape.
        let line = line.replace("\\\\", "").replace("\\|", "");
        // One bar on each side of two cells, and none in them.
        let bars = line.matches('|').count();
        assert!(bars == 0 || bars == 3, "{line}");
        assert!(!line.replace("\\<", "").contains('<'), "{line}");
        assert!(!line.contains(char::is_control), "{line:?}");
    }
    for (text, escaped) in [
        ("- a", "\\- a"),
        ("+ a", "\\+ a"),
        ("12. a.b", "12\\. a.b"),
        ("1) a", "1\\) a"),
        ("    code", "code"),
        ("-", "-"),
        ("1.", "1\\."),
        ("---", "\\---"),
        ("0.5 s", "0.5 s"),
        ("-1", "-1"),
        ("a - b. c) & d", "a - b. c) & d"),
    ] {
        let paragraph = Document {
            blocks: vec![Block::Paragraph(text.to_owned())],
            ..Document::default()
        };
        assert_eq!(
            markdown::render(&paragraph, 1),
            format!("# \n\n{escaped}\n")
        );
    }
}

#[test]
fn no_text_leaves_its_place_in_a_page() {
    let page = html::render(&everywhere(HOSTILE));
    // Ours, of the timeline.
    assert_eq!(page.matches("<script").count(), 1);
    assert_eq!(page.matches("</pre>").count(), 1);
    assert!(!page.contains('\u{1b}') && !page.contains('\r'));
    let text = "&lt;script&gt;alert(1)&lt;/script&gt;|`x`|\u{fffd}[31m\u{fffd}# *a* _b_ [c](d) &amp;lt; $1$";
    // Title, heading and command, the blocks, the cells, and the timeline.
    assert!(page.matches(text).count() >= 3 + 7 + 4 + 6, "{page}");
}

#[test]
fn no_text_moves_the_cursor_of_a_terminal() {
    let text = terminal::render(&everywhere(HOSTILE), Screen::default());
    assert!(
        !text.contains(|c: char| c.is_control() && c != '\n'),
        "{text:?}"
    );
    let lines = text.lines().filter(|line| line.contains("<script>"));
    // Title, five sentences, a list with a detail, a table of two rows, the command.
    assert_eq!(lines.count(), 1 + 5 + 2 + 2 + 1, "{text}");
}

#[test]
fn no_text_leaves_its_cell_in_a_spreadsheet() {
    let mut table = Table::new("a,b | c");
    table.row(["x\ny", "\"q\""]);
    table.row(["plain", ""]);
    assert_eq!(
        csv::render(&table),
        "\"a,b\",c\n\"x\ny\",\"\"\"q\"\"\"\nplain,\n"
    );
}
