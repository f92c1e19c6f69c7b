// Runs Python in the 32-bit MicroPython VM (WebAssembly, no sockets):
//   node run.mjs FOLDER[,FOLDER...] CODE [CODE...]
// The .py and .mpy files of the folders become importable modules. The VM executes gc.collect() only at
// the end of a piece of code, so the next piece sees its effect.
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { loadMicroPython } from "@micropython/micropython-webassembly-pyscript";

const [folders, ...pieces] = process.argv.slice(2);
const vm = await loadMicroPython({
  heapsize: 1024 * 1024,
  linebuffer: true,
  stdout: (line) => console.log(line),
  stderr: (line) => console.log(line),
});

function copy(from, to) {
  for (const name of readdirSync(from)) {
    const source = join(from, name);
    const target = `${to}/${name}`;
    if (statSync(source).isDirectory()) {
      if (name === "__pycache__") continue;
      vm.FS.mkdir(target);
      copy(source, target);
    } else if (name.endsWith(".py") || name.endsWith(".mpy")) {
      vm.FS.writeFile(target, readFileSync(source));
    }
  }
}

vm.FS.mkdir("/flash");
for (const folder of folders.split(",")) copy(folder, "/flash");
try {
  vm.runPython(`import sys\nsys.path.insert(0, "/flash")`);
  for (const code of pieces) vm.runPython(code);
} catch (error) {
  console.log(String(error.message)); // without the stack, which contains the source of the VM
  process.exit(1);
}
