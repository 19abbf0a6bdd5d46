"""Says which files the real BitBake can parse: python3 parsefiles.py BITBAKE_DIR < names > answers

A line of answer is "ok" or the exception's name; nothing is evaluated.
"""
import logging, os, sys

sys.path.insert(0, os.path.join(sys.argv[1], "lib"))
import bb, bb.data, bb.parse
from bb.parse import ast
from bb.parse.parse_py import BBHandler, ConfHandler

logger = logging.getLogger("BitBake")
logger.handlers, logger.propagate = [logging.NullHandler()], False
ast.StatementGroup.eval = lambda self, data: None
ast.multi_finalize = lambda fn, d: {"": d}

for line in sys.stdin:
    name = line.rstrip("\n")
    d = bb.data.init()
    d.setVar("BBPATH", os.path.dirname(name))
    try:
        if name.endswith(".conf"):
            ConfHandler.handle(name, d, True, baseconfig=True)
        else:
            BBHandler.handle(name, d, True)
        print("ok")
    except Exception as e:
        print(type(e).__name__)
