"""The language as its guide and published specification describe it, and bounds that hold for hostile templates."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtad.message.handlebars import rendering
from mtad.message.handlebars.nodes import MAX_DEPTH, MAX_SOURCE, BadTemplate
from mtad.message.handlebars.reading import read
from mtad.message.handlebars.rendering import render

PEOPLE = {"people": [{"name": "Ann"}, {"name": "Bob"}, {"name": "Cy"}], "house": "H"}


def filled(source, **variables):
    return render(read(source), variables)


@pytest.mark.parametrize(
    ("source", "variables", "result"),
    [
        ("Hello {{name}}!", {"name": "Ann"}, "Hello Ann!"),
        ("{{ name }}{{\n name\t}}", {"name": "x"}, "xx"),
        ("{{name}}", {}, ""),
        ("{{name}}", {"name": None}, ""),
        ("{{name}}", {"name": """<a href="x">&'`=\\"""}, "&lt;a href&#x3D;&quot;x&quot;&gt;&amp;&#x27;&#x60;&#x3D;\\"),
        ("{{{name}}}{{&name}}{{~{name}~}}", {"name": "<&>"}, "<&><&><&>"),
        ("{{a.b.c}}{{a/b/c}}", {"a": {"b": {"c": 1}}}, "11"),
        ("{{a.b.c}}", {"a": {"b": None}}, ""),
        ("{{a.b}}", {"a": {"b": ""}}, ""),
        ("{{foo-bar}} {{a:b}} {{größe}}", {"foo-bar": 1, "a:b": 2, "größe": 3}, "1 2 3"),
        ("{{[first name]}} {{a.[b c].d}} {{[@x]}}", {"first name": 1, "a": {"b c": {"d": 2}}, "@x": 3}, "1 2 3"),
        ("{{this.name}}{{./name}}{{this/name}}", {"name": "x"}, "xxx"),
        (
            "{{items.0}}{{items.[1]}}{{items.2}}{{items.length}}{{name.length}}",
            {"items": ["a", "b"], "name": "xyz"},
            "ab23",
        ),
        ("{{@root.name}}", {"name": "x"}, "x"),
        ("{{true}}{{12}}", {"true": "a", "12": "b"}, "ab"),
        ("{{if}}", {"if": "a"}, "a"),
    ],
)
def test_a_value_stands_where_its_name_was(source, variables, result):
    assert filled(source, **variables) == result


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (-7, "-7"),
        (2.0, "2"),
        (0.1, "0.1"),
        (1e21, "1e+21"),
        (1.5e300, "1.5e+300"),
        (0.00001, "0.00001"),
        (-0.0000012, "-0.0000012"),
        (1e-7, "1e-7"),
        (1e16, "10000000000000000"),
        (-1e16, "-10000000000000000"),
        (1.5e-5, "0.000015"),
        (123456789012345680000.0, "123456789012345680000"),
        (9007199254740993, "9007199254740993"),
        (True, "true"),
        (False, "false"),
        (None, ""),
        ([1, None, "a", [2, 3], False], "1,,a,2,3,false"),
        ([], ""),
        ({"a": 1}, "[object Object]"),
    ],
)
def test_values_are_written_as_javascript_writes_them(value, text):
    assert filled("{{value}}", value=value) == text


@pytest.mark.parametrize(
    ("source", "result"),
    [
        (r"\{{name}}", "{{name}}"),
        (r"\\{{name}}", "\\x"),
        (r"\\ {{name}}", "\\\\ x"),
        (r"a\{{b}} {{name}} \{{c}}", "a{{b}} x {{c}}"),
        ("a } }} b", "a } }} b"),
        ("{{! no {{name }}{{name}}", "x"),
        ("{{!-- {{name}} }} --}}{{name}}", "x"),
        ("a {{!~}} b", "a b"),
        ("a {{~!-- x --~}} b", "ab"),
        ("{{!}}{{!----}}", ""),
        ("", ""),
    ],
)
def test_text_comments_and_what_is_escaped(source, result):
    assert filled(source, name="x") == result


TRUTHS = [
    (True, True),
    (1, True),
    ("a", True),
    (["a"], True),
    ({}, True),
    (False, False),
    (None, False),
    (0, False),
    (0.0, False),
    ("", False),
    ([], False),
]


@pytest.mark.parametrize(("value", "truth"), TRUTHS)
def test_what_is_true(value, truth):
    yes = "Y" if truth else "N"
    assert filled("{{#if v}}Y{{else}}N{{/if}}", v=value) == yes
    assert filled("{{#if v}}Y{{^}}N{{/if}}", v=value) == yes
    assert filled("{{#unless v}}N{{else}}Y{{/unless}}", v=value) == yes
    assert filled("{{^if v}}N{{else}}Y{{/if}}", v=value) == yes
    assert filled("{{#if v}}Y{{/if}}", v=value) == yes.replace("N", "")


def test_zero_is_true_where_it_is_said():
    assert filled("{{#if v includeZero=true}}Y{{/if}}", v=0) == "Y"
    assert filled("{{#if v includeZero=false}}Y{{/if}}", v=0) == ""
    assert filled("{{#unless v includeZero=true}}Y{{/unless}}", v=0) == ""


def test_without_the_variable_it_is_false():
    assert filled("{{#if v}}Y{{else}}N{{/if}}{{#each v}}Y{{else}}N{{/each}}{{#with v}}Y{{else}}N{{/with}}") == "NNN"


@pytest.mark.parametrize(
    ("lang", "said"), [("de", "Hallo"), ("fr", "Salut"), ("sv", "Hej"), ("en", "Hello"), (None, "Hello")]
)
def test_else_if_goes_on_to_the_next_condition(lang, said):
    source = (
        "{{#equal lang \"de\"}}Hallo{{else equal lang 'fr'}}Salut{{else if missing}}?"
        '{{else equal lang "sv"}}Hej{{else}}Hello{{/equal}}'
    )
    assert filled(source, lang=lang) == said


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [(1, 1, True), (1, "1", True), ("a", "A", False), (True, "true", True), (None, "", True), ([1], "1", True)],
)
def test_equal_compares_what_is_written(one, other, equal):
    assert filled("{{#equal a b}}Y{{else}}N{{/equal}}", a=one, b=other) == ("Y" if equal else "N")


@pytest.mark.parametrize(
    ("source", "result"),
    [
        ("{{#each people}}{{name}} {{/each}}", "Ann Bob Cy "),
        ("{{#each people}}{{@index}}{{@key}}{{#if @first}}<{{/if}}{{#if @last}}>{{/if}} {{/each}}", "00< 11 22> "),
        ("{{#each people}}{{../house}}{{@root.house}}{{/each}}", "HHHHHH"),
        ("{{#each people}}{{#if name}}{{../house}}{{/if}}{{/each}}", "HHH"),
        (
            "{{#each people}}{{#with name}}{{this}}{{../name}}{{../../house}}{{@index}}{{/with}} {{/each}}",
            "AnnAnnH0 BobBobH1 CyCyH2 ",
        ),
        (
            "{{#each people}}{{#each ../people}}{{@../index}}{{@index}} {{/each}}{{/each}}",
            "00 01 02 10 11 12 20 21 22 ",
        ),
        ("{{#each people}}{{@index}}{{/each}}{{@index}}", "012"),
        ("{{#each people}}{{house}}{{/each}}", ""),
        ("{{#each none}}x{{else}}nobody of {{house}}{{/each}}", "nobody of H"),
        ("{{#each house}}x{{else}}no list{{/each}}", "no list"),
        ("{{#people}}{{name}}{{@index}}{{/people}}", "Ann0Bob1Cy2"),
        ("{{#house}}{{this}}{{../house}}{{/house}}", "HH"),
        ("{{#none}}x{{/none}}{{^none}}none{{/none}}{{^people}}none{{/people}}", "none"),
        ("{{#none}}x{{else if house}}{{house}}{{else}}y{{/none}}", "H"),
        ("{{#with people.0}}{{name}}{{/with}}{{#with house}}{{.}}{{/with}}", "AnnH"),
        ("{{../house}}{{#each people}}{{../../house}}{{/each}}", ""),
        (
            "{{#each people}}{{../this}}{{#with ..}}{{house}}{{/with}} {{/each}}",
            "[object Object]H [object Object]H [object Object]H ",
        ),
    ],
)
def test_blocks_and_where_names_are_looked_up(source, result):
    assert filled(source, **PEOPLE) == result


def test_an_object_is_gone_through_by_its_keys():
    source = "{{#each o}}{{@index}} {{@key}}={{this}}{{#unless @last}}, {{/unless}}{{/each}}"
    assert filled(source, o={"<b>": 1, "c": 2}) == "0 &lt;b&gt;=1, 1 c=2"


def test_items_that_are_nothing_are_items():
    assert filled("{{#each l}}[{{this}}{{@index}}]{{/each}}", l=[None, False, 0, ""]) == "[0][false1][02][3]"


def test_a_section_that_is_true_stays_where_it_is():
    assert filled("{{#yes}}{{house}}{{/yes}}{{#no}}{{house}}{{/no}}", yes=True, no=False, house="H") == "H"


@pytest.mark.parametrize(
    ("source", "result"),
    [
        ("{{#if yes}}\nA\n{{else}}\nB\n{{/if}}\nC", "A\nC"),
        ("{{#if no}}\nA\n{{else}}\nB\n{{/if}}\nC", "B\nC"),
        ("a\n  {{#if yes}}  \n  A\n  {{/if}}  \nb", "a\n  A\nb"),
        ("a\r\n{{#if yes}}\r\nA\r\n{{/if}}\r\nb", "a\r\nA\r\nb"),
        ("{{#if yes}}\n{{#if yes}}\n\nA\n{{/if}}\n{{/if}}", "\nA\n"),
        ("{{#each l}}\n- {{this}}\n{{/each}}\nend", "- 1\n- 2\nend"),
        ("{{#if no}}\n{{name}}\n{{else if yes}}\nB\n{{/if}}\n", "B\n"),
        ("{{#if no}}\nx\n{{else if yes}}\nB\n{{^}}\n{{/if}}\n", "B\n"),
        ("a {{#if yes}}\nA\n{{/if}} b", "a \nA\n b"),
        ("  {{! alone }}  \nA", "A"),
        ("A\n  {{!-- alone --}}", "A\n"),
        ("A {{! not alone }}\nB", "A \nB"),
        ("{{name}}\n{{name}}\n", "\n\n"),
        (" {{#if yes}} A {{/if}} ", "  A  "),
        ("{{#data}}\n{{#if true}}\n{{.}}\n{{/if}}\n{{/data}}\nOK.", "1\n3\nOK."),
    ],
)
def test_a_block_that_has_a_line_for_itself_takes_the_line_away(source, result):
    assert filled(source, yes=True, l=[1, 2], data=[1, 3]) == result


@pytest.mark.parametrize(
    ("source", "result"),
    [
        (" {{~foo~}} ", "b&lt;"),
        (" {{~foo}} ", "b&lt; "),
        (" {{foo~}} ", " b&lt;"),
        (" {{~&foo~}} ", "b<"),
        (" {{~{foo}~}} ", "b<"),
        (" {{~foo~}} {{foo}} {{foo}} ", "b&lt;b&lt; b&lt; "),
        (" {{~#if foo~}} bar {{~/if~}} ", "bar"),
        (" {{#if foo~}} bar {{/if~}} ", " bar "),
        (" {{~#if foo}} bar {{~/if}} ", " bar "),
        (" {{~^if no~}} bar {{~/if~}} ", "bar"),
        ("{{#if foo~}} bar {{~^~}} baz {{~/if}}", "bar"),
        ("{{#if foo~}} bar {{^~}} baz {{/if}}", "bar "),
        ("{{#if foo}} bar {{~else~}} baz {{~/if}}", " bar"),
        ("{{#if no~}} bar {{~^}} baz {{~/if}}", " baz"),
        ("{{#if no~}} bar {{~else~}} \n baz {{~/if}}", "baz"),
    ],
)
def test_a_tilde_takes_white_space_away(source, result):
    assert filled(source, foo="b<") == result


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("a\n{{", "line 2: a tag has no }}"),
        ("{{name", "line 1: a tag has no }}"),
        ("{{name}", "line 1: '}' is not known here"),
        ("{{}}", "line 1: a value is one name"),
        ("{{{name}}", "line 1: {{{ is closed by }}}"),
        ("{{{{raw}}}} {{{{/raw}}}}", "line 1: {{{{ }}}} is not known here"),
        ("{{> partial}}", "line 1: partials and decorators are not known here"),
        ("{{#> partial}}{{/partial}}", "line 1: partials and decorators are not known here"),
        ("{{*x}}", "line 1: partials and decorators are not known here"),
        ("{{upper name}}", "line 1: a value is one name; upper is no helper known here"),
        ("{{#upper name}}{{/upper}}", "line 1: upper is no helper known here; there are if, unless, each, with, equal"),
        ("{{#if (eq a b)}}{{/if}}", "line 1: '(' is not known here"),
        ("{{#each a as |b|}}{{/each}}", "line 1: '|' is not known here"),
        ("{{#if}}{{/if}}", "line 1: {{#if}} takes 1 value"),
        ("{{#equal a}}{{/equal}}", "line 1: {{#equal}} takes 2 values"),
        ("{{#if a}}", "line 1: {{#if}} is not closed"),
        ("{{#if a}}\n\n{{/each}}", "line 3: {{/each}} closes nothing: {{#if}} of line 1 is open"),
        ("{{/if}}", "line 1: {{/if}} closes nothing: nothing is open"),
        ("{{#a}}{{else if b}}{{/if}}", "line 1: {{/if}} closes nothing: {{#a}} of line 1 is open"),
        ("{{else}}", "line 1: {{else}} is not within a block, or is there twice"),
        ("{{#if a}}{{else}}{{else}}{{/if}}", "line 1: {{else}} is not within a block, or is there twice"),
        ("{{#}}{{/}}", "line 1: a block has no name"),
        ("{{! x", "line 1: a comment has no end"),
        ("{{!-- x }}", "line 1: a comment has no end"),
        ("{{a..b}}", "line 1: a..b is no path to a variable"),
        ("{{a/../b}}", "line 1: a/../b is no path to a variable"),
        ("{{a/this}}", "line 1: a/this is no path to a variable"),
        ("{{a.}}", "line 1: a. is no path to a variable"),
        ("{{..a}}", "line 1: ..a is no path to a variable"),
        ("{{@secret}}", "line 1: @secret is not known here"),
        ("{{#if a b=1}}{{/if}}", "line 1: b= is not known here"),
        ("{{#each a includeZero=true}}{{/each}}", "line 1: includeZero= is not known here"),
        ('{{#equal a "b}}{{/equal}}', "line 1: '\"' is not known here"),
        ("{{" + "a.a" * 50 + "}}", "is no path to a variable"),
        ("{{#if a}}" * (MAX_DEPTH + 1) + "{{/if}}" * (MAX_DEPTH + 1), "more than 50 blocks within each other"),
        ("x" * (MAX_SOURCE + 1), f"the template has more than {MAX_SOURCE} characters"),
    ],
)
def test_what_is_no_template_is_refused_with_its_line(source, said):
    with pytest.raises(BadTemplate) as caught:
        read(source)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "name", ["__class__", "__class__.__mro__", "items", "keys", "__len__", "format", "real", "constructor", "__proto__"]
)
def test_nothing_of_python_can_be_reached(name):
    for value in ({}, [], "text", 1, 1.5, True, None):
        assert filled("{{v." + name + "}}", v=value) == ""
        assert filled("{{" + name + "}}") == ""


def test_loops_in_loops_come_to_an_end():
    numbers = list(range(1000))
    for inner in ("x", "", "{{this}}", "{{#equal @root.l @root.l}}{{/equal}}"):
        source = "{{#each l}}" + "{{#each @root.l}}" * 4 + inner + "{{/each}}" * 5
        program = read(source)
        started = time.perf_counter()
        with pytest.raises(BadTemplate, match="repeats too much"):
            render(program, {"l": numbers})
        assert time.perf_counter() - started < 5


def test_a_result_has_a_bound():
    with pytest.raises(BadTemplate, match="once it is filled in"):
        filled("{{#each l}}{{@root.text}}{{/each}}", l=list(range(1000)), text="x" * (rendering.MAX_RESULT // 999))


def test_an_array_as_deep_as_json_allows_is_written():
    deep = []
    for _ in range(900):
        deep = [deep]
    assert filled("{{deep}}{{#equal deep deep}}{{/equal}}", deep=deep) == ""


@pytest.mark.parametrize(
    "source",
    [
        "{{! }}" * 80_000,
        "{{!----}}" * 50_000,
        "{{a}}" * 100_000,
        " " * 500_000 + "x",
        ("{{#if a}}" + " " * 1000 + "{{/if}}" + " " * 1000 + "\n") * 250,
        "\\{{" * 150_000,
        "{" * 500_000,
        "{{a." * 100_000,
        "{{[" * 150_000,
        '{{"' * 150_000,
        "{{#equal a" + ' "b"' * 100_000,
        "{{#if a}}x" + "{{else if a}}x" * 35_000 + "{{/if}}",
    ],
)
def test_a_hostile_template_is_read_in_little_time(source):
    started = time.perf_counter()
    try:
        render(read(source), {"a": 0})
    except BadTemplate:
        pass
    assert time.perf_counter() - started < 6


PIECES = [
    "{{",
    "}}",
    "{{#if a}}",
    "{{/if}}",
    "{{else}}",
    "{{#each l}}",
    "{{/each}}",
    "~",
    "{",
    "}",
    "a",
    "\n",
    " ",
    "\\",
]


@given(st.lists(st.sampled_from(PIECES), max_size=20))
def test_any_text_is_filled_or_refused(pieces):
    try:
        program = read("".join(pieces))
    except BadTemplate:
        return
    assert isinstance(render(program, {"a": 1, "l": [1, 2]}), str)


@given(st.text())
def test_text_without_tags_stays_as_it_is(text):
    text = text.replace("{{", "")
    assert filled(text) == text


@given(st.text())
def test_what_is_escaped_holds_no_markup(text):
    result = filled("{{v}}", v=text)
    assert not set(result) & set("<>\"'`=")
