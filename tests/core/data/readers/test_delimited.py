import pytest

from diptych.core.data import readers
from diptych.core.data.sources import DataError

TEXTS = "".join(
    f"the lamp number {i} was nice,pos\nthe soup number {i} was sad,neg\n" for i in range(20)
)
NUMBERS = [(0.695, 1.5, "a"), (-2.728, 0.713, "b"), (1392.25, 12.0, "a"), (20.0, 7.125, "b")]


@pytest.fixture
def table(tmp_path):
    """Write a file and read it."""

    def read(content, name="data.csv", options=""):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return readers.read_table(str(path), readers.parse_options(options))

    return read


def guessed(raw, what):
    return next((guess for guess in raw.guesses if guess.what == what), None)


@pytest.mark.parametrize(
    "content",
    [
        "text,label\n" + TEXTS,
        "\n\ntext,label\n" + TEXTS + "\n\n",
        ("text,label\n" + TEXTS).replace(",", "|"),
        ("text,label\n" + TEXTS).replace(",", "\t"),
        "sep=;\r\n" + ("text,label\n" + TEXTS).replace(",", ";"),
        "\ufefftext,label\n" + TEXTS,
        ("text,label\n" + TEXTS).encode("utf-16"),
        ("text,label\n" + TEXTS).encode("utf-16-le"),
        ("text,label\n" + TEXTS).encode("utf-16-be"),
        ("text,label\n" + TEXTS).encode("utf-32"),
        "Exported on Monday\nby the shop\n\ntext,label\n" + TEXTS,
        "text,label,,\n" + TEXTS.replace("\n", ",,\n"),
        "text,label\n" + TEXTS.replace("\n", ",\n"),
        "text,label\n" + TEXTS + ",\n,\n",
        "text,label\n" + TEXTS + "text,label\n",
        "'text','label'\n" + TEXTS.replace("the", "'the").replace(",", "','").replace("\n", "'\n"),
    ],
    ids=[
        "comma", "blank lines", "pipe", "tab in csv", "sep line", "mark", "utf-16", "utf-16-le",
        "utf-16-be", "utf-32", "title", "unnamed", "ends in separators", "empty rows",
        "header again", "single quotes",
    ],
)  # fmt: skip
def test_every_form_gives_the_same_rows(table, content):
    frame = table(content).frame
    assert list(frame.columns) == ["text", "label"]
    assert frame.shape == (40, 2)
    assert list(frame.iloc[0]) == ["the lamp number 0 was nice", "pos"]
    assert list(frame.iloc[-1]) == ["the soup number 19 was sad", "neg"]


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        ("x  y kind\n 1.5  2   a\n10.5 30   b\n", [["1.5", "2", "a"], ["10.5", "30", "b"]]),
        ('"name", "says"\n"a", "b, c"\n"d", "e"\n', [["a", "b, c"], ["d", "e"]]),
        ("a, b\nx, y\nz, w\n", [["x", " y"], ["z", " w"]]),
        ("text\nhello, you\nbye\nso\n", [["hello, you"], ["bye"], ["so"]]),
        ("id,tags\n1,a;b\n2,c;d\n", [["1", "a;b"], ["2", "c;d"]]),
        ("a;b\n1,5;2,5\n3,5;4,5\n", [["1,5", "2,5"], ["3,5", "4,5"]]),
        ("a;x, y\n0;0,5\n1;1,5\n", [["0", "0,5"], ["1", "1,5"]]),
        ("price\n0,500\n1.200,250\n", [["0,500"], ["1.200,250"]]),
        ("text,n\n" + "word " * 100_000 + ",1\n", [["word " * 100_000, "1"]]),
    ],
    ids=[
        "aligned",
        "space before quotes",
        "space",
        "one column",
        "lists",
        "decimal",
        "comma in a name",
        "one",
        "long",
    ],
)
def test_what_separates_fields(table, content, rows):
    assert table(content).frame.values.tolist() == rows


def test_a_file_without_header_gets_names(table):
    raw = table(TEXTS)
    assert list(raw.frame.columns) == ["column_1", "column_2"]
    assert len(raw.frame) == 40
    assert guessed(raw, "header").value == "no"
    overridden = table(TEXTS, options="header=yes")
    assert list(overridden.frame.columns) == ["the lamp number 0 was nice", "pos"]


@pytest.mark.parametrize(
    ("content", "header"),
    [
        ("5.1,3.5,setosa\n4.9,3.0,setosa\n6.1,2.8,virginica\n", False),
        ("length,width,kind\n4.9,3.0,setosa\n6.1,2.8,virginica\n", True),
        ("outlook,wind\nsunny,weak\nrain,strong\nsunny,strong\n", True),
        ("sunny,weak\nrain,strong\nsunny,strong\n", False),
        ("name,city\nAnna,Bern\nBen,Rome\n", True),
        ("country,2019,2020,2021\nPeru,1.5,2.5,3\nCuba,1,2,3\n", True),
        ("0,1,2\n5,7,9\n6,8,1\n", True),
        ("when,label\n2023-01-01,a\n2023-01-02,b\n", True),
        ("2023-01-01,a\n2023-01-02,b\n2023-01-03,a\n", False),
        ("x\n1\n2\n", True),
        ("1\n2\n3\n", False),
    ],
)
def test_whether_the_first_line_holds_names(table, content, header):
    assert guessed(table(content), "header").value == ("yes" if header else "no")


def test_a_first_line_with_a_name_that_the_user_gave_is_the_header(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("0,00\n0,yes\n0,no\n")
    assert list(readers.read_table(str(path)).frame.columns) == ["column_1", "column_2"]
    assert list(readers.read_table(str(path), expected=["00", ""]).frame.columns) == ["0", "00"]


@pytest.mark.parametrize("decimal", [".", ","])
@pytest.mark.parametrize("thousands", ["", "other", " ", "'"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_the_marks_of_numbers_are_found(table, decimal, thousands, separator):
    group = {"other": "," if decimal == "." else "."}.get(thousands, thousands)
    marks = str.maketrans({".": decimal, ",": group})
    rows = [["x", "y", "label"]] + [
        [f"{x:,.2f}".translate(marks), f"{y:.3f}".replace(".", decimal), label]
        for x, y, label in NUMBERS
    ]
    raw = table("\n".join(separator.join(f'"{cell}"' for cell in row) for row in rows))
    assert raw.frame.values.tolist() == rows[1:]
    assert (raw.conventions.decimal, raw.conventions.thousands) == (decimal, group)


def test_marks_are_decided_by_all_columns_and_can_be_overridden(table):
    content = "a;b\n1,234;0,5\n5,678;1,25\n"
    raw = table(content)
    assert (raw.conventions.decimal, raw.conventions.thousands) == (",", "")
    assert "of 2 values of 'b'" in guessed(raw, "decimal mark").why
    overridden = table(content, options="decimal=. thousands=,").conventions
    assert (overridden.decimal, overridden.thousands) == (".", ",")


@pytest.mark.parametrize(
    ("content", "decimal", "thousands"),
    [
        ('a,b\n"1,234",x\n"5,678",y\n', ".", ","),
        ("a;b\n1,234;x\n5,678;y\n", ",", ""),
        ("a;b\n1.234;x\n5.678;y\n", ".", ""),
        ('a,b\n"1,234",x\n"12345",y\n', ",", ""),
    ],
)
def test_what_can_be_read_in_two_ways_is_said(table, content, decimal, thousands):
    raw = table(content)
    assert (raw.conventions.decimal, raw.conventions.thousands) == (decimal, thousands)
    assert any("two ways" in guess.why for guess in raw.guesses)


def test_columns_that_contradict_each_other_leave_no_thousands_mark(table):
    raw = table(
        "a;b\n0,5;1.234,5\n0,25;2.345,5\n".replace("1.234,5", "0.5").replace("2.345,5", "1.25")
    )
    assert raw.conventions.thousands == ""
    assert "mixed" in guessed(raw, "decimal mark").why


def test_currency_percent_and_words_for_missing_are_named(table):
    raw = table('price,share,x,label\n"$6,950.00",9.8%,-,a\n"$8,250.00",13.9%,0.5,b\n' +
                '"$8.50",3.9%,1.5,b\n"$1.50",1.9%,2.5,b\n"$1.50",1.9%,2.5,b\n')  # fmt: skip
    assert raw.frame["price"].iloc[0] == "$6,950.00"
    assert raw.conventions.thousands == ","
    assert "-" in raw.conventions.missing
    assert "-" in guessed(raw, "words for missing").value
    assert guessed(raw, "currency sign").value == "'price'"
    assert guessed(raw, "percent sign").value == "'share'"
    assert table("x\n1\n", options="missing=-,k.A.").conventions.missing == ("", "-", "k.A.")


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("cp1252", "the café “nice”, 5 €"),
        ("latin-1", "Müller mag Straße à la carte"),
        ("latin-1", "¿Qué tal, niño?"),
        ("cp1250", "zażółć gęślą jaźń"),
        ("cp1251", "Привет, это хороший фильм и очень интересный"),
        ("shift_jis", "東京都と大阪の映画はとても良いです"),
        ("gb18030", "北京的电影非常好看我很喜欢"),
        ("cp850", "über Müller"),
    ],
)
def test_encodings_are_guessed_and_shown(table, encoding, text):
    content = f'text,label\n"{text}",a\n' + "plain words,b\n" * 300 + f'"{text}",b\n'
    raw = table(content.encode(encoding))
    assert raw.frame["text"].iloc[-1] == text
    assert "UTF-8" in guessed(raw, "encoding").why
    overridden = table(content.encode(encoding), options=f"encoding={encoding}")
    assert overridden.frame["text"].iloc[0] == text
    assert not guessed(overridden, "encoding")


def test_a_totals_row_is_left_out_with_a_word(table):
    content = "region,sales\nnorth,1\nsouth,2\neast,4\nTotal,7\n"
    raw = table(content)
    assert list(raw.frame["region"]) == ["north", "south", "east"]
    assert "'Total'" in raw.notes[0]
    assert len(table(content, options="totals=keep").frame) == 4
    category = "kind,sales\nTotal,1\nPart,2\nTotal,3\n"
    assert len(table(category).frame) == 3


def test_unnamed_columns_with_values_get_a_name(table):
    raw = table(",x,y,\n0,1,2,\n1,3,4,\n")
    assert list(raw.frame.columns) == ["column_1", "x", "y"]
    assert "'column_1'" in guessed(raw, "column names").value
    row_names = table('"x" "y"\n"1" 5 6\n"2" 7 8\n', options="separator=space")
    assert row_names.frame.values.tolist() == [["1", "5", "6"], ["2", "7", "8"]]


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        ('a,b\n5" nail,x\n6" nail,y\n', [['5" nail', "x"], ['6" nail', "y"]]),
        ('a\tb\n"So what\tx\nsaid "no"\ty\n', [['"So what', "x"], ['said "no"', "y"]]),
        ('a,b\n"say \\"hi\\", you",x\n"n",y\n', [['say "hi", you', "x"], ["n", "y"]]),
        ('a,b\n"a ""b"", c",x\n"line\nbreak",y\n', [['a "b", c', "x"], ["line\nbreak", "y"]]),
    ],
    ids=["within", "unpaired", "backslash", "doubled"],
)  # fmt: skip
def test_quotation_marks_never_swallow_rows(table, content, rows):
    assert table(content).frame.values.tolist() == rows


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", ["empty"]),
        ("\n\n \n", ["empty"]),
        ("a,b\n", ["no rows"]),
        ("text,label,text\nx,y,z\n1,2,3\n", ["'text' twice", "column 1 and 3", "header=no"]),
        ("<!DOCTYPE html><html></html>", ["web page"]),
        ("a,b\n1,2,3,4\n5,6,7,8\n", ["2 names", "4 fields", "skip_rows=1"]),
        ("a,b\n1,2\n3,4,5\n6,7\n", ["row 2 has 3 fields, not 2: '3,4,5'", "read_options"]),
        ('a,b\n"x" y,1,2\n"z,2\n', ["quotation marks", "quote=none"]),
        (b"\0\1\2\3" * 100, ["no text"]),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_remedy(table, content, words):
    with pytest.raises(DataError) as raised:
        table(content)
    assert [word for word in words if word not in str(raised.value)] == []


@pytest.mark.parametrize(
    ("encoding", "text", "sure"),
    [
        ("cp1251", "Москва", False),
        ("cp1251", "Иван, Пётр", False),
        ("koi8-r", "Красный Синий", False),
        ("cp866", "Москва", False),
        ("cp1253", "Αθήνα", False),
        ("cp1255", "ירושלים", False),
        ("cp1256", "القاهرة", False),
        ("cp874", "กรุงเทพ", False),
        ("cp932", "はい いいえ", False),
        ("gb18030", "上海", False),
        ("cp949", "서울", False),
        ("cp1252", "Ærø", False),
        ("cp1254", "Şişli, Çorum, İstanbul, güneş", False),
        ("cp1252", "Þú ert góður maður, ekki satt, og segir sögur", True),
        ("cp1251", "Хороший товар, быстрая доставка, всем советую", True),
        ("cp949", "상품이 아주 좋고 배송도 빨라요", False),  # level 1 of GB 2312, too
    ],
)
def test_an_encoding_is_guessed_from_few_words_and_doubt_is_said(table, encoding, text, sure):
    raw = table(f'text,label\n"{text}",1\n"ok",0\n'.encode(encoding))
    assert raw.frame["text"][0] == text
    guess = guessed(raw, "encoding")
    assert ("not sure" not in guess.why) == sure
    assert guess.override.startswith("encoding=")
    assert guess.override != f"encoding={guess.value}"


def test_a_wrong_encoding_names_the_line(table):
    with pytest.raises(DataError, match="is not ascii: line 2"):
        table("a,b\nü,1\n", options="encoding=ascii")


def test_ten_times_the_rows_take_ten_times_as_long(table):
    import time

    def seconds(rows):
        start = time.process_time()
        table("\n".join(["a,b,c", *(f"{i},word {i},{i}.5" for i in range(rows))]))
        return time.process_time() - start

    seconds(1000)
    assert seconds(200_000) < 30 * seconds(20_000) + 1


def test_utf_8_with_a_wrong_byte_is_refused_not_garbled(tmp_path):
    lines = [f"{word},{i % 2}" for i, word in enumerate(["é", "ü", "ß"] * 9)]
    path = tmp_path / "rows.csv"
    path.write_bytes("\n".join(["name,label", *lines]).encode() + b"\n\xe9,1\n")
    with pytest.raises(DataError, match="UTF-8 but for line 29"):
        readers.read_table(str(path))


@pytest.mark.parametrize(
    "text",
    ['a, b, c\nx, "1" , u\ny, "2, z" , u\n', 'a,b,c\nx,"1" , u\ny,"2, z" , u\n'],
    ids=["both sides", "after"],
)
def test_spaces_beside_quotation_marks_are_left_out_and_said(text, tmp_path):
    (tmp_path / "spaced.csv").write_text(text)
    raw = readers.read_table(str(tmp_path / "spaced.csv"))
    assert raw.frame.iloc[:, 1].tolist() == ["1", "2, z"]
    assert "spaces beside quotation marks" in [guess.what for guess in raw.guesses]
