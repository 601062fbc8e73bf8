// Threads that live as long as a call: nothing waits or spins between calls, and a process may fork.
#pragma once
#include <algorithm>
#include <system_error>
#include <thread>
#include <vector>

#include "vector.h"

namespace {

// This structure is a range of members, or of rows.
struct Range {
  int64_t begin, end;
};

// Return the share of one of n threads in `size` items. Groups of `step` items stay together.
Range share_of_thread(int thread, int n_threads, int64_t size, int64_t step) {
  const int64_t n_groups = (size + step - 1) / step;
  return {n_groups * thread / n_threads * step, std::min(size, n_groups * (thread + 1) / n_threads * step)};
}

// Call a function with the share of each thread; the last of them is the thread that calls.
template <class F>
void share_out_work(int n_threads, int64_t size, int64_t step, F work) {
  std::vector<std::thread> others;
  for (int i = 0; i < n_threads; i++) {
    const Range share = share_of_thread(i, n_threads, size, step);
    bool started = false;
    if (i < n_threads - 1) try {
        others.emplace_back(work, share);
        started = true;
      } catch (const std::system_error&) {  // There are too many threads already.
      }
    if (!started) work(share);
  }
  for (std::thread& other : others) other.join();
}

}  // namespace
