// Uses a service by the `@composio/core` package; says how each step ended, as JSON.
// COMPAT_URL and COMPAT_KEY name the service, COMPAT_MODULES the folder in which the package is installed.

import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const found = createRequire(pathToFileURL(`${process.env.COMPAT_MODULES}/`));
const { BaseAgenticProvider, Composio } = await import(pathToFileURL(found.resolve("@composio/core")).href);
const [URL_, KEY] = [process.env.COMPAT_URL, process.env.COMPAT_KEY];
const WORKBENCH = "COMPOSIO_REMOTE_WORKBENCH";
const BASH = "COMPOSIO_REMOTE_BASH_TOOL";
const MULTI = "COMPOSIO_MULTI_EXECUTE_TOOL";
const FOLDER = "~/../../mnt/files"; // also where the sandbox is a folder of a development machine

class Plain extends BaseAgenticProvider {
  name = "plain";
  wrapTool(tool, execute) {
    return (given) => execute(tool.slug, given);
  }
  wrapTools(tools, execute) {
    return Object.fromEntries(tools.map((tool) => [tool.slug, this.wrapTool(tool, execute)]));
  }
}

const options = { apiKey: KEY, baseURL: URL_, allowTracking: false, disableVersionCheck: true };
const ours = new Composio(options);
const session = await ours.create("somebody", { mcp: true });
const wanted = (slug, given) => ({
  choices: [
    {
      index: 0,
      finish_reason: "tool_calls",
      message: {
        role: "assistant",
        content: null,
        tool_calls: [{ id: "call_1", type: "function", function: { name: slug, arguments: JSON.stringify(given) } }],
      },
    },
  ],
});

const steps = {
  create: async () => ({ session_id: session.sessionId, mcp: session.mcp }),
  use: async () => (await ours.use(session.sessionId)).sessionId,
  openai_tools: async () => (await session.tools()).map((tool) => tool.function.name),
  openai_call: async () => ours.provider.handleToolCalls("somebody", wanted(BASH, { command: "echo hello" })),
  openai_session_call: async () =>
    ours.provider.handleToolCalls(session, wanted(WORKBENCH, { code_to_execute: "seen = 42\nprint(seen)" })),
  agentic: async () => {
    const own = new Composio({ ...options, provider: new Plain() });
    const tools = await (await own.create("somebody")).tools();
    return [
      await tools[WORKBENCH]({ code_to_execute: "x = 41\nprint(x + 1)", thought: "try" }),
      await tools[WORKBENCH]({
        code_to_execute: `import os; os.chdir(os.path.expanduser('${FOLDER}')); open('made', 'w').write('by python'); x`,
      }),
      await tools[BASH]({ command: `cd ${FOLDER}; cat made; exit 3` }),
      await tools[WORKBENCH]({ code_to_execute: "1/0" }),
    ];
  },
  execute: async () => [
    await session.execute(WORKBENCH, { code_to_execute: "y = 1\ny + 1" }),
    await session.execute(BASH, { command: "printf out; printf err >&2" }),
    await session.execute(WORKBENCH, { code_to_execute: "unknown_name" }),
    await session.execute("ECHO_ECHO", { text: "said" }),
  ],
  multi_execute: async () => {
    const tools = [
      { tool_slug: "ECHO_ECHO", arguments: { text: "one" } },
      { tool_slug: "GMAIL_SEND_EMAIL", arguments: {} },
    ];
    return session.execute(MULTI, { tools, sync_response_to_workbench: true });
  },
  direct: async () =>
    ours.tools.execute(WORKBENCH, {
      userId: "somebody",
      arguments: { code_to_execute: "20 + 3", timeout: 60 },
      dangerouslySkipVersionCheck: true,
    }),
  update: async () => {
    const changing = await ours.create("somebody");
    const before = changing.configVersion;
    await changing.update({ sandbox: { autoOffloadThreshold: 300 } });
    return { before, after: changing.configVersion };
  },
  search: async () => session.search({ query: "say a text again" }),
  toolkits: async () => session.toolkits(),
  proxy: async () =>
    session.proxyExecute({
      toolkit: "github",
      endpoint: "/user",
      method: "GET",
      parameters: [{ name: "per_page", in: "query", value: "1" }],
    }),
  files: async () => {
    await session.execute(BASH, { command: `mkdir -p ${FOLDER}/a; echo text > ${FOLDER}/a/made.txt` });
    const mount = session.experimental.files;
    const remote = await mount.download("a/made.txt");
    return {
      list: await mount.list({ path: "/", limit: 10 }),
      below: await mount.list({ path: "/a", limit: 10 }),
      url: remote.downloadUrl,
      delete: await mount.delete("a/made.txt"),
      after: await mount.list({ path: "/a" }),
    };
  },
  upload_bytes: async () =>
    session.experimental.files.upload(Buffer.from("text"), { remotePath: "up.txt", mimetype: "text/plain" }),
  download_bytes: async () => {
    await session.execute(BASH, { command: `echo text > ${FOLDER}/down.txt` });
    return (await session.experimental.files.download("down.txt")).buffer();
  },
  switched_off: async () =>
    (await (await ours.create("somebody", { sandbox: { enable: false } })).tools()).map((tool) => tool.function.name),
  switched_off_call: async () =>
    (await ours.create("somebody", { sandbox: { enable: false } })).execute(WORKBENCH, { code_to_execute: "1" }),
  wrong_key: async () => new Composio({ ...options, apiKey: "not-a-key-of-this-service" }).create("somebody"),
  unknown_session: async () => ours.use("trs_000000000000000000"),
  delete: async () => (await ours.create("somebody")).delete(),
  delete_twice: async () => {
    const made = await ours.create("somebody");
    await made.delete();
    return ours.use(made.sessionId);
  },
};

const said = {};
for (const [name, step] of Object.entries(steps)) {
  try {
    said[name] = { value: await step() };
  } catch (error) {
    const kinds = [];
    for (let each = error; each; each = each.cause) kinds.push(each.constructor.name);
    said[name] = { raised: kinds, status: error.status ?? error.cause?.status ?? null, words: String(error.message) };
  }
}
process.stdout.write(JSON.stringify(said));
