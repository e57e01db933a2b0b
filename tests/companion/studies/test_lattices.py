"""The paper's Table 1, computed."""

from companion.studies.lattices.architectures import PAPER_TABLE_1, table_1


def test_table_1_is_the_papers():
    assert table_1().to_dict("list") == PAPER_TABLE_1
