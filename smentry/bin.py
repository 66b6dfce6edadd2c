#!python
from smentry.__main__ import main

main()
