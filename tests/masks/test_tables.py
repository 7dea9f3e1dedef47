"""Tables beside images: what is read, and which line says what is wrong."""

from pathlib import Path

import pytest

from masks.tables import read_table


def test_commas_tabs_quotes_and_other_columns_are_read(tmp_path: Path):
    table = tmp_path / "t"
    table.write_bytes(b'image,prompt,mask\r\na.png,"a ""big"" cat, asleep\nat noon",m.png\r\n\r\n')
    assert read_table(table) == [{"image": "a.png", "prompt": 'a "big" cat, asleep\nat noon', "mask": "m.png"}]
    table.write_text("image\tprompt\na.png\ta cat, asleep")
    assert read_table(table, ("image", "prompt")) == [{"image": "a.png", "prompt": "a cat, asleep"}]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "no column image; it is empty"),
        ("name,prompt\na,b\n", "no column image; its head line has name, prompt"),
        ("image\na\n", "no column prompt; its head line has image. The first line names the columns: image,prompt"),
        ("image,prompt,image\na,b,c\n", "two columns image"),
        ("image,prompt\na,a cat, asleep\n", "row 2 has 3 cells, the head line 2. Put a cell that holds a comma"),
        ("image,prompt\n\na\n", "row 3 has 1 cells, the head line 2"),
        ("image,prompt\n ,a cat\n", "row 2 names no image"),
        ('image,prompt\na,"a cat\n', "is not a table"),
        ("image,prompt\0\n", "is not text"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(content: str, said: str, tmp_path: Path):
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(ValueError, match=f"t.csv: .*{said}"):
        read_table(tmp_path / "t.csv", ("image", "prompt"))
