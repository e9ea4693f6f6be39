"""Many sessions in one run: their list, the processes that mix them, table and page."""
