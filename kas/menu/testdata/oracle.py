# Answers with what the real kas menu writes. A case a line: a Kconfig file and
# assignments; an answer a line. The menu itself is not shown: its code for
# loading and saving is called.
import inspect, json, logging, os, sys, tempfile
import kconfiglib
from kas.plugins import menu

menu.__file_version__ = 23
menu.__version__ = "5.4"
logging.disable(logging.CRITICAL)


def answer(case, path):
    with open(os.path.join(path, "Kconfig"), "w") as f:
        f.write(case["kconfig"])
    out = os.path.join(path, ".config.yaml")
    for name in (out, out + ".old"):
        if os.path.exists(name):
            os.remove(name)
    m = menu.Menu()
    m.orig_config = {}
    m.kconf = kconfiglib.Kconfig(os.path.join(path, "Kconfig"), warn_to_stderr=False)
    if case["saved"]:
        with open(out, "w") as f:
            f.write(case["saved"])
        m.load_config(out)
        os.remove(out)
        m.orig_config = {}
    for name, value in case["assign"]:
        m.kconf.syms[name].set_value(value)
    args = [out]
    if len(inspect.signature(m.save_config).parameters) > 1:
        args.append("/project")
    m.save_config(*args)
    with open(out) as f:
        return {"file": f.read(), "source": len(args) > 1}


with tempfile.TemporaryDirectory() as path:
    for line in sys.stdin:
        try:
            result = answer(json.loads(line), path)
        except (Exception, SystemExit) as e:
            result = {"error": type(e).__name__ + ": " + str(e)}
        print(json.dumps(result), flush=True)
