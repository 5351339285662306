-- Sends the requests of one case in turn. The file named by BENCHMARK_REQUESTS holds each as its length, a line feed, and the bytes.
local requests, at = {}, 0

function init(args)
   local file = assert(io.open(os.getenv("BENCHMARK_REQUESTS"), "rb"))
   while true do
      local length = file:read("*n", "*l")
      if not length then break end
      requests[#requests + 1] = file:read(length)
   end
   file:close()
end

function request()
   at = at % #requests + 1
   return requests[at]
end

function done(summary, latency, requests)
   local errors = summary.errors
   io.write(string.format(
      "RESULT %d %d %d %d %d %d %d\n",
      summary.requests, summary.duration, errors.connect, errors.read, errors.write, errors.status, errors.timeout
   ))
end
