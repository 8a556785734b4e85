-- Sends the requests that load.py wrote, in turn or at random, and prints the figures as JSON.
-- Before this file load.py writes FOLDER, COUNT, PICK ("one", "turn", "random") and TIMING.

local raw, at, sent = {}, 0, 0

if PICK == "one" then
  wrk.method = "POST"
  local file = io.open(FOLDER .. "/body", "rb")
  wrk.body = file:read("*a")
  file:close()
else
  for number = 1, COUNT do
    local file = io.open(FOLDER .. "/raw" .. number, "rb")
    raw[number] = file:read("*a")
    file:close()
  end
  if PICK == "random" then
    function request() return raw[math.random(COUNT)] end
  elseif VARY then
    function request()
      at = at % COUNT + 1
      sent = sent + 1
      return HEAD .. string.format("%032x", sent) .. raw[at]
    end
  else
    function request()
      at = at % COUNT + 1
      return raw[at]
    end
  end
end

if TIMING then
  -- Adds up the parts of Server-Timing of every 8th answer. wrk runs one thread, one Lua state.
  sums, seen, skip = {}, 0, 0
  function response(status, headers, body)
    skip = skip + 1
    if skip % 8 ~= 0 then return end
    local text = headers["server-timing"] or headers["Server-Timing"]
    if text == nil then return end
    seen = seen + 1
    for entry in string.gmatch(text, "[^,]+") do
      local name, duration = string.match(entry, "^%s*(.-);dur=([%d%.]+)")
      if name then sums[name] = (sums[name] or 0) + tonumber(duration) end
    end
  end
  local mine = nil
  function setup(thread) mine = thread; TIMED = thread end
end

function done(summary, latency, requests)
  local e = summary.errors
  local parts = ""
  if TIMING then
    local all, n = TIMED:get("sums") or {}, TIMED:get("seen") or 0
    for name, sum in pairs(all) do
      parts = parts .. string.format(',"%s":%.6f', name, sum / math.max(1, n))
    end
  end
  io.write(string.format(
    'RESULT {"n":%d,"us":%d,"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d,' ..
    '"p50":%f,"p90":%f,"p99":%f,"max":%f,"timing":{"":0%s}}\n',
    summary.requests, summary.duration, e.connect, e.read, e.write, e.status, e.timeout,
    latency:percentile(50), latency:percentile(90), latency:percentile(99), latency.max, parts))
end
