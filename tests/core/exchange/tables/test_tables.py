"""Tables of labelled texts are read row by row, and a bad row spoils no other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core.errors import InvalidArchive, InvalidRequest
from core.exchange import sources
from core.exchange.reading.plan import make_plan
from core.exchange.reading.source import Unreadable
from core.exchange.tables import rows
from core.exchange.tables.columns import Columns
from core.inputs.pixels.kind import PIXELS
from core.inputs.tokens.kind import TOKENS

Row = tuple[bytes, str]


def read(
    folder: Path, name: str, content: str | bytes, columns: Columns | None = None
) -> tuple[list[Row], dict[str, str]]:
    """The texts with their labels, and what is wrong with the other rows."""
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    found, problems = [], {}
    with sources.opened(path, TOKENS, columns or Columns()) as source:
        for item in make_plan(source, {}).items:
            if item.kind is not None:
                problems[item.file.path] = item.why
                continue
            try:
                found.append((source.read(item.file, 10**6), item.label))
            except Unreadable as error:
                problems[item.file.path] = str(error)
    return found, problems


TWO: list[Row] = [(b"it broke", "bug"), ("très bien, merci".encode(), "praise")]


@pytest.mark.parametrize(
    "content",
    [
        'text,label\nit broke,bug\n"très bien, merci",praise\n',
        '\ufeffText;Label\r\nit broke;bug\r\n"très bien, merci";praise\r\n',
        "sep=|\nid|label|text\n1|bug|it broke\n2|praise|très bien, merci\n",
        "text\tlabel\rit broke\tbug\rtrès bien, merci\tpraise",
        "\n".join(('"text","label"', '"it broke", bug ', "", '"très bien, merci","praise"', ",")),
    ],
)
def test_dialects_of_csv_say_the_same(tmp_path: Path, content: str) -> None:
    assert read(tmp_path, "a.csv", content)[0] == TWO


def test_cells_are_taken_as_they_stand(tmp_path: Path) -> None:
    content = 'text,label\n" a ""b""\r\n\nc ",x\n5" screen,x\n\'=1,x\n'
    assert [text for text, _ in read(tmp_path, "a.csv", content)[0]] == [
        b' a "b"\r\n\nc ',
        b'5" screen',
        b"'=1",
    ]


def test_what_is_wrong_with_a_row_is_said_of_that_row(tmp_path: Path) -> None:
    content = (
        b"text,label,split\ngood,x,train\n\n,x,\n,,\nno label,,\nfine,caf\xe9,\nfine,x,friday\n"
        b'"a"b,x,\nlast,x,test\n"open,x,\nmore,x,\n'
    )
    found, problems = read(tmp_path, "a.csv", content)
    assert found == [(b"good", "x"), (b"last", "x")]
    assert problems == {
        "row 4": "without a text",
        "row 5": "without a text",
        "row 6": "without a label",
        "row 7": "its label or split is not UTF-8",
        "row 8": "its split is 'friday', which is neither trained nor held out",
        "row 9": "not CSV: something follows a closing quote; write a quote inside of a cell twice",
        "row 11": "not CSV: a quote is not closed, so what follows is not read",
    }


def test_line_without_end_is_one_bad_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("csv_table", "json_table"):
        monkeypatch.setattr(f"core.exchange.tables.{module}.MAX_ROW_BYTES", 50)
    found, problems = read(tmp_path, "a.csv", f"text,label\na,x\n{'b' * 130},x\nc,x\n")
    assert (found, [*problems]) == ([(b"a", "x"), (b"c", "x")], ["row 3"])
    row = json.dumps({"text": "c", "label": "x"})
    found, problems = read(tmp_path, "a.jsonl", f'{row}\n{{"text": "{"b" * 130}"}}\n{row}')
    assert (found, [*problems]) == ([(b"c", "x"), (b"c", "x")], ["line 2"])


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([{"text": "a", "label": "x"}, {"TEXT": "b", "Label": 1}], [(b"a", "x"), (b"b", "1")]),
        ([{"text": "a", "label": ["x"]}, {"text": "b", "label": ["x", "y"]}], [(b"a", "x")]),
        ([{"text": "a\r\nb", "label": {"choices": ["x"]}}], [(b"a\r\nb", "x")]),
        ([{"text": "a", "label": "x"}, [1], {"text": 7, "label": "x"}], [(b"a", "x")]),
    ],
)
def test_json_lines_and_lists_say_the_same(
    tmp_path: Path, rows: list[Any], expected: list[Row]
) -> None:
    lines = "\n\n".join(map(json.dumps, rows))
    listed = json.dumps(rows, indent=1, ensure_ascii=False)
    assert read(tmp_path, "a.jsonl", f"\ufeff{lines}\n")[0] == expected
    assert read(tmp_path, "a.json", f"\ufeff{listed}")[0] == expected


def test_bad_bytes_and_half_characters_of_json_are_said_of_their_line(tmp_path: Path) -> None:
    good = b'{"text": "a", "label": "x"}'
    lines = [good, b'{"text": "caf\xe9", "label": "x"}', b'{"text": "\\ud83d", "label": "x"}', b"{"]
    found, problems = read(tmp_path, "a.jsonl", b"\n".join([*lines, good]))
    assert found == [(b"a", "x")] * 2
    assert [*problems] == ["line 2", "line 3", "line 4"]
    assert "lone surrogate (U+D83D)" in problems["line 3"]
    with pytest.raises(InvalidArchive, match="ends in the middle"):
        read(tmp_path, "a.json", b"[" + good)


def test_tasks_of_label_studio_have_texts(tmp_path: Path) -> None:
    def task(text: str, *choices: str) -> dict[str, Any]:
        result = [{"type": "choices", "value": {"choices": [choice]}} for choice in choices]
        return {"data": {"text": text}, "annotations": [{"result": [each]} for each in result]}

    tasks = [task("a", "x"), task("b"), task("c", "x", "y")]
    found, problems = read(tmp_path, "tasks.json", json.dumps(tasks))
    assert found == [(b"a", "x")]
    assert problems == {"task 2": "without a label", "task 3": "annotators do not agree"}


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_column_that_is_not_there_is_an_error_that_lists_them(tmp_path: Path, name: str) -> None:
    content = {"a.csv": "body,topic\na,x\n", "a.jsonl": '{"body": "a", "topic": "x"}\n'}[name]
    with pytest.raises(InvalidRequest, match=r"no column 'text'.*'body', 'topic'.*--text"):
        read(tmp_path, name, content)
    with pytest.raises(InvalidRequest, match="cannot be the text and the label"):
        read(tmp_path, name, content, Columns("body", "body"))
    assert read(tmp_path, name, content, Columns("body", "topic"))[0] == [(b"a", "x")]


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="2 columns called 'text'"):
        read(tmp_path, "a.csv", "text,text,label\n")
    assert read(tmp_path, "a.csv", "text,TEXTS,label\na,b,x\n")[0] == [(b"a", "x")]


def test_other_encodings_and_other_homes_are_refused_with_words(tmp_path: Path) -> None:
    with pytest.raises(InvalidArchive, match="UTF-16"):
        read(tmp_path, "a.csv", "text,label\na,x\n".encode("utf-16"))
    with (
        pytest.raises(InvalidRequest, match="classifies images"),
        sources.opened(tmp_path / "a.csv", PIXELS, Columns()),
    ):
        pass


def test_more_rows_than_the_limit_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert rows.MAX_ROWS >= 100_000
    monkeypatch.setattr("core.exchange.tables.table.MAX_ROWS", 2)
    assert len(read(tmp_path, "a.csv", "text,label\n" + "a,x\n" * 2)[0]) == 2
    with pytest.raises(InvalidArchive, match="more than 2 rows"):
        read(tmp_path, "a.csv", "text,label\n" + "a,x\n" * 3)


def test_endless_first_line_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.exchange.tables.csv_table.MAX_ROW_BYTES", 20)
    for content in ("a" * 21, "sep=;\n" + "a" * 21):
        with pytest.raises(InvalidArchive, match="has no header: a line has more than 20 bytes"):
            read(tmp_path, "a.csv", content)
