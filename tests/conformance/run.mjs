// Runs the published HTTP cache test suite, as it stands at its head (head.mjs), against a cache, without a browser
// and without npm scripts.
//
//   node run.mjs PACKAGE origin            the suite's origin on a free port of 127.0.0.1; prints the port
//   node run.mjs PACKAGE tests BASE [ID]   all tests (or one, with its exchanges) through the cache at BASE;
//                                          prints { id: { kind, result, detail } } as JSON
//
// PACKAGE is the directory of http-cache-tests. `result` is the suite's own judgement (display.mjs): pass,
// fail, optional_fail, yes, no, setup_fail, harness_fail, dependency_fail, retry or untested.

import http from 'node:http'
import path from 'node:path'
import { createRequire } from 'node:module'
import head from './head.mjs'

const [directory, task, base, only] = process.argv.slice(2)
const packageFile = name => path.resolve(directory, name)

const SYMBOLS = {
  '-': 'untested',
  '✅': 'pass',
  '⛔️': 'fail',
  '⚠️': 'optional_fail',
  Y: 'yes',
  N: 'no',
  '🔹': 'setup_fail',
  '⁉️': 'harness_fail',
  '⚪️': 'dependency_fail',
  '↻': 'retry'
}

async function origin () {
  const handlers = {}
  const { configs } = await import(packageFile('server/utils.mjs'))
  // What the package's origin knows nothing of: interim responses, and a wait before the final one.
  async function before (handler, [uuid], request, response) {
    const wanted = handler === 'test' && configs.get(uuid)?.[request.headers['req-num'] - 1]
    for (const [status, fields] of wanted?.interim_responses ?? []) {
      if (status === 102) response.writeProcessing()
      if (status === 103) response.writeEarlyHints(Object.fromEntries(fields))
    }
    if (wanted?.response_pause) await new Promise(resolve => setTimeout(resolve, wanted.response_pause * 1000))
  }
  for (const name of ['config', 'state', 'test']) {
    handlers[name] = (await import(packageFile(`server/handle-${name}.mjs`))).default
  }
  // The handlers log to the console; the port must be the one line on standard output.
  console.log = () => {}
  const server = http.createServer((request, response) => {
    const [first, ...rest] = new URL(request.url, 'http://localhost').pathname.split('/').slice(1)
    const handle = handlers[first]
    if (handle) return before(first, rest, request, response).then(() => handle(rest, request, response))
    response.statusCode = 404
    response.end()
  })
  server.listen(0, '127.0.0.1', () => process.stdout.write(`${server.address().port}\n`))
}

async function suites () {
  return head((await import(packageFile('tests/index.mjs'))).default)
}

// Every test that applies to a shared cache, judged.
async function judged (suites, results) {
  const display = await import(packageFile('lib/display.mjs'))
  const all = {}
  for (const suite of suites) {
    for (const test of suite.tests) {
      if (test.browser_only === true) continue
      const symbol = display.determineTestResult(suites, test.id, results)[2]
      const detail = Array.isArray(results[test.id]) ? results[test.id].join(': ') : undefined
      all[test.id] = { kind: test.kind ?? 'required', result: SYMBOLS[symbol] ?? symbol, detail }
    }
  }
  return all
}

// The package's client, which also sees interim responses, and holds those that a test expects.
function seeing (all, fetch) {
  const seen = new Map()
  const send = http.request
  const place = headers => `${headers['test-id']} ${headers['req-num']}`
  http.request = (...given) => {
    const request = send(...given)
    request.on('information', ({ statusCode, headers }) => {
      const at = place({ 'test-id': request.getHeader('Test-ID'), 'req-num': request.getHeader('Req-Num') })
      seen.set(at, [...(seen.get(at) ?? []), [statusCode, headers]])
    })
    return request
  }
  const tests = new Map(all.flatMap(suite => suite.tests).map(test => [test.id, test]))
  return async (url, init) => {
    const response = await fetch(url, init)
    const own = Object.fromEntries(init?.headers?.map?.(([name, value]) => [name.toLowerCase(), value]) ?? [])
    const expected = tests.get(own['test-id'])?.requests[own['req-num'] - 1].expected_interim_responses
    const came = seen.get(place(own)) ?? []
    const isThere = ([status, fields = []], at) => came[at]?.[0] === status &&
      fields.every(([name, value]) => came[at][1][name.toLowerCase()] === value)
    if (expected && !(came.length === expected.length && expected.every(isThere))) {
      const message = `Interim responses are ${JSON.stringify(came)}, not ${JSON.stringify(expected)}`
      throw Object.assign(new Error(message), { name: 'Assertion' })
    }
    return response
  }
}

async function tests () {
  const { runTests, getResults } = await import(packageFile('client/runner.mjs'))
  const all = await suites()
  const fetch = seeing(all, createRequire(packageFile('package.json'))('node-fetch'))
  if (only) {
    const one = all.flatMap(suite => suite.tests).find(test => test.id === only)
    if (!one) throw new Error(`no test ${only}`)
    one.dump = true
    await runTests([{ name: only, id: only, tests: [one] }], fetch, false, base)
    process.stdout.write(`${JSON.stringify(getResults(), null, 2)}\n`)
    return
  }
  const log = console.log
  console.log = () => {}
  await runTests(all, fetch, false, base)
  console.log = log
  process.stdout.write(`${JSON.stringify(await judged(all, getResults()))}\n`)
}

const tasks = { origin, tests }
await (tasks[task] ?? (() => { throw new Error(`no task ${task}`) }))()
if (task !== 'origin') process.exit(0)
