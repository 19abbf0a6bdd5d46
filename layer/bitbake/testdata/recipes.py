"""Evaluates recipes with the real BitBake: python3 recipes.py BITBAKE_DIR TOPDIR VARIABLE... < recipes > answers

A line of input is a recipe, its layer's name and its appends, separated by tabs; a line of output is a JSON object
of the variables' values, or {"error": ...}.
"""
import json, logging, os, sys

sys.path.insert(0, os.path.join(sys.argv[1], "lib"))
os.chdir(sys.argv[2])
import bb, bb.cooker, bb.cookerdata, bb.data, bb.event, bb.parse

logger = logging.getLogger("BitBake")
logger.handlers, logger.propagate = [logging.NullHandler()], False

config = bb.cookerdata.CookerConfiguration()
config.prefile, config.postfile, config.tracking = [], [], False
config.env = {k: os.environ[k] for k in ("PATH", "HOME") if k in os.environ}
bb.event.fire = lambda *args, **kw: None
builder = bb.cookerdata.CookerDataBuilder(config)
builder.parseBaseConfiguration(worker=True)

for line in sys.stdin:
    recipe, layer, *appends = line.rstrip("\n").split("\t")
    try:
        d = builder.parseRecipeVariants(recipe, appends, layername=layer or None)[""]
    except BaseException as e:
        print(json.dumps({"error": type(e).__name__}), flush=True)
        continue
    values = {}
    for name in sys.argv[3:]:
        try:
            values[name] = d.getVar(name)
        except Exception as e:
            values[name] = None
    print(json.dumps(values), flush=True)
