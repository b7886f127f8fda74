"""The pass that gives tables, boxes, drawings and terms what a keyboard and a screen reader need."""

from reports.page.glossary import GENERAL, glossary
from reports.page.readable import anchor, readable
from reports.spec import ReportSpec, Term

HOLM = Term(name="Holm", also=("p adjusted",), meaning='Adjusts "p" < 1.')
GAIN = Term(name="retained gain", meaning="A share.")


def test_header_cells_have_a_scope_and_tables_a_caption() -> None:
    head = "<thead><tr><th></th><th colspan=2>a</th><th>b</th></tr></thead>"
    table = f"<table>{head}<tbody><tr><th>c</th></tr></tbody></table>"
    assert readable(f"<h3>Rows &amp; scores</h3>{table}", ())[0] == (
        '<h3>Rows &amp; scores</h3><table><caption class="unseen">Rows &amp; scores</caption><thead><tr><td></td>'
        '<th colspan=2 scope="colgroup">a</th><th scope="col">b</th></tr></thead>'
        '<tbody><tr><th scope="row">c</th></tr></tbody></table>'
    )


def test_boxes_that_scroll_are_named_after_their_heading_each_otherwise() -> None:
    html = '<summary>A "b"</summary><div class="scroll">1</div><div class="scroll">2</div><div class="x">3</div>'
    named = 'role="region" tabindex="0" aria-label="A &quot;b&quot;'
    assert readable(html, ())[0] == (
        f'<summary>A "b"</summary><div class="scroll" {named}">1</div><div class="scroll" {named} (2)">2</div>'
        '<div class="x">3</div>'
    )


def test_a_drawing_has_a_title_and_its_caption_as_description() -> None:
    drawing = "<svg viewBox='0 0 1 1'><text>retained gain</text></svg>"
    caption = "<figcaption>Of <b>rows</b> &amp; all.</figcaption>"
    found, used = readable(f"<figure><h3>Cost</h3>{drawing}{caption}</figure>", [GAIN])
    assert 'role="img" aria-labelledby="drawing-1 drawing-1-about"><title id="drawing-1">Cost</title>' in found
    assert '<desc id="drawing-1-about">Of rows &amp; all.</desc><text>retained gain</text></svg></div>' in found
    assert '<div class="drawing" role="group" tabindex="0" aria-label="Cost"><svg' in found
    assert used == []
    named = '<svg role="img" aria-label="mine"><path/></svg>'
    assert readable(named, [GAIN])[0] == named


def test_the_first_use_of_a_term_in_a_section_leads_to_its_meaning() -> None:
    html = "<h2>Holm</h2><p>After Holm, Holm's.</p><a>Holm</a><code>Holm</code><h2>x</h2><p>Holmes, p adjusted</p>"
    link = '<a class="term" href="#term-holm" title="Adjusts &#34;p&#34; &lt; 1.">'
    assert readable(html, [HOLM, GAIN]) == (
        f"<h2>Holm</h2><p>After {link}Holm</a>, Holm's.</p><a>Holm</a><code>Holm</code>"
        f"<h2>x</h2><p>Holmes, {link}p adjusted</a></p>",
        [HOLM],
    )


def test_nothing_is_read_within_styles_and_comments() -> None:
    html = "<style>th > td { x: Holm }</style><!-- <table>Holm -->"
    assert readable(html, [HOLM]) == (html, [])
    named = '<pre role="region" tabindex="0" aria-label="All"> Holm</pre>'
    assert readable("<summary>All</summary><pre> Holm</pre>", [HOLM])[0] == f"<summary>All</summary>{named}"


def test_a_study_may_define_a_general_term_otherwise() -> None:
    own = Term(name="Seed", meaning="A draw of the data.")
    terms = glossary(ReportSpec(glossary=(own,)))
    assert terms[0] is own and len(terms) == len(GENERAL)
    assert len({anchor(term) for term in GENERAL}) == len(GENERAL)
