"""Answers configurations with the real BitBake: python3 oracle.py BITBAKE_DIR < cases > answers

A case and its answer are one JSON object a line; oracle_test.go names the fields.
"""
import json, logging, os, shutil, signal, sys, tempfile

sys.path.insert(0, os.path.join(sys.argv[1], "lib"))
import bb, bb.data, bb.parse, bb.siggen
from bb.parse.parse_py import BBHandler

logger = logging.getLogger("BitBake")
logger.handlers, logger.propagate = [logging.NullHandler()], False


class Stuck(BaseException):
    """BitBake expands some values without end."""


def stuck(*_):
    raise Stuck()


signal.signal(signal.SIGVTALRM, stuck)


def cause(e):
    while getattr(e, "exception", None) is not None:
        e = e.exception
    return type(e).__name__


def evaluate(case, root, d):
    d.setVar("BBPATH", root)
    d.setVar("__bbclasstype", "global")
    if case.get("overrides") is not None:
        d.setVar("OVERRIDES", case["overrides"])
    d = bb.parse.handle(os.path.join(root, case["entry"]), d, True, baseconfig=case.get("base", False))
    if case.get("inherit"):
        for name in (d.getVar("INHERIT") or "").split():
            BBHandler.inherit(name, "INHERIT", 0, d)
    if case.get("recipe"):
        d.setVar("__bbclasstype", "recipe")
        d = bb.data.createCopy(d)
        d.setVar("__BBAPPEND", " ".join(os.path.join(root, a) for a in case.get("bbappend") or []))
        return bb.parse.handle(os.path.join(root, case["recipe"]), d)[""]
    if case.get("finalize"):
        bb.data.expandKeys(d)
        bb.parse.ast.runAnonFuncs(d)
    return d


def describe(d, name, clean):
    out = {}
    for key, expand in ("v", True), ("u", False):
        try:
            out[key] = clean(d.getVar(name, expand))
        except Exception as e:
            out.update({key: None, "xerr": cause(e)})
    flags = {k: clean(v) for k, v in (d.getVarFlags(name) or {}).items()}
    if flags:
        out["f"] = flags
    out["h"] = []
    for e in d.varhistory.variable(name):
        if "func" not in e:
            out["h"].append([e["op"], "%s:%s" % (clean(e["file"]), e["line"])] + ([e["flag"]] if e.get("flag") else []))
    return out


context = set(bb.utils._context)


def answer(case, root):
    for name in set(bb.utils._context) - context:
        del bb.utils._context[name]

    def clean(v):
        return v.replace(root + "/", "").replace(root, "@ROOT@") if isinstance(v, str) else v

    for name, text in case["files"].items():
        path = os.path.join(root, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as f:
            f.write(text.encode("utf-8", "surrogateescape"))
    os.chdir(root)
    d = bb.data.init()
    d.enableTracking()
    bb.parse.siggen = bb.siggen.init(d)
    BBHandler.cached_statements.clear()
    bb.parse.clear_cache()
    try:
        d = evaluate(case, root, d)
    except Exception as e:
        return {"ok": False, "error": {"type": type(e).__name__, "msg": clean(str(e))[:200]}}
    return {"ok": True, "vars": {n: describe(d, n, clean) for n in case["vars"]}}


for line in sys.stdin:
    root = tempfile.mkdtemp(prefix="pvkit-oracle-")
    signal.setitimer(signal.ITIMER_VIRTUAL, 3)
    try:
        print(json.dumps(answer(json.loads(line), root)), flush=True)
    except Stuck:
        print(json.dumps({"stuck": True}), flush=True)
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        os.chdir("/")
        shutil.rmtree(root)
