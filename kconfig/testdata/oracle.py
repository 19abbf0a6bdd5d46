# Answers Kconfig cases with the real Kconfiglib: JSON lines in, JSON lines out.
import json, os, sys, tempfile
import kconfiglib
from kconfiglib import TYPE_TO_STR, TRI_TO_STR, expr_value

with tempfile.TemporaryDirectory() as tmp:
    os.chdir(tmp)
    os.environ["srctree"] = tmp
    for line in sys.stdin:
        case = json.loads(line)
        with open("Kconfig", "w") as f:
            f.write(case["kconfig"])
        out = {}
        try:
            k = kconfiglib.Kconfig("Kconfig", warn=False)
            for name, value in case["assign"]:
                k.syms[name].set_value(value)
            out["order"] = [s for s in k.syms if s != "MODULES"]
            out["values"] = {
                n: [TYPE_TO_STR[s.orig_type], s.str_value, TRI_TO_STR[s.visibility], TRI_TO_STR[expr_value(s.direct_dep)]]
                for n, s in k.syms.items() if s.nodes
            }
            out["choices"] = [c.selection.name if c.selection else "" for c in k.unique_choices]
            out["modes"] = [c.str_value for c in k.unique_choices]
        except kconfiglib.KconfigError as e:
            out = {"error": str(e)}
        except RecursionError:
            out = {"crash": True}
        print(json.dumps(out), flush=True)
