"""Prints the global configuration as the real BitBake has it: python3 global.py BITBAKE_DIR TOPDIR

One JSON object: every variable and its value, null where it has none or cannot be expanded.
"""
import json, logging, os, sys

sys.path.insert(0, os.path.join(sys.argv[1], "lib"))
os.chdir(sys.argv[2])
import bb, bb.cooker, bb.cookerdata, bb.data, bb.event, bb.parse

logger = logging.getLogger("BitBake")
logger.handlers, logger.propagate = [logging.StreamHandler(sys.stderr)], False
logger.setLevel(logging.ERROR)

config = bb.cookerdata.CookerConfiguration()
config.prefile, config.postfile, config.tracking = [], [], False
config.env = {k: os.environ[k] for k in ("PATH", "HOME") if k in os.environ}
# Event handlers check the build machine and fetch tools; only the parse counts here.
bb.event.fire = lambda *args, **kw: None

builder = bb.cookerdata.CookerDataBuilder(config)
builder.parseBaseConfiguration(worker=True)
d = builder.data
bb.data.expandKeys(d)
try:
    bb.parse.ast.runAnonFuncs(d)
except Exception as e:
    print("anonymous Python: %s" % e, file=sys.stderr)

values = {}
for name in d.keys():
    if name.startswith("__"):
        continue
    try:
        value = d.getVar(name)
    except Exception:
        value = None
    if value is None or isinstance(value, str):
        values[name] = value
json.dump(values, sys.stdout)
