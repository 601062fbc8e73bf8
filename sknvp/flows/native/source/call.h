// The arguments of a call from Python, and the memory that it takes.
#pragma once
#include <cstdlib>
#include <memory>

#include "chain.h"
#include "threads.h"

namespace {

// This structure describes a tensor of shape (n_members, n_columns, n_rows) by a step for each axis.
struct Columns {
  const void* start;
  int64_t member_step, column_step, row_step;
};

// This structure holds tensors whose first axis is that of the members, and the steps along that axis.
struct Parts {
  void* const* starts;
  const int64_t* steps;

  template <class T>
  std::vector<T*> of_member(int member, int n) const {
    std::vector<T*> own(n);
    for (int i = 0; i < n; i++) own[i] = (T*)starts[i] + steps[i] * member;
    return own;
  }
};

// This structure holds the arguments of a call; `structures.py` declares its fields too. The numbers of tensors without
// steps lie together, one member after the other.
struct Call {
  int32_t is_double, inverse, n_members, n_threads;
  int64_t n_rows;
  Columns x, context;       // The input, or the gradient of the image; and the context.
  void *image, *log_det;    // The image and its log-determinant, or the gradients of the input and the log-determinant.
  void* grad_context;       // The gradient of the context, or null.
  Parts parts, grad_parts;  // The parameters and their gradients.
  void* tape;               // The tape, which has tape_size() numbers for each member, or null.
  // The weights of the rows, and the logarithms of densities that are added to those of the flow, or null.
  const double *weights, *tail;
  double* value;  // The sum of weighted log-densities of each member, or the log-density of each row.
};

// This structure owns the memory of a thread in a call, which serves one member after the other.
template <class T>
struct Memory {
  std::unique_ptr<T, decltype(&std::free)> start;
  Arena<T> arena;

  explicit Memory(int64_t n) : start((T*)std::aligned_alloc(64, round_up(n * sizeof(T), 64)), &std::free), arena{start.get()} {}
};

// Call a function with the first row of each block and its number of rows.
template <class F>
void for_each_block(Range rows, F f) {
  for (int64_t first = rows.begin; first < rows.end; first += BLOCK) f(first, (int)std::min<int64_t>(BLOCK, rows.end - first));
}

// Return the number of rows that a block has room for.
int padded(int n_rows) { return (int)round_up(n_rows, 2 * LANES<float>); }

// Copy rows of a member into a block, with zeros behind them.
template <class T>
void fill_block(T* block, const Columns& x, int member, int n_columns, int64_t first, int n_rows) {
  const T* start = (const T*)x.start + member * x.member_step + first * x.row_step;
  for (int j = 0; j < n_columns; j++) {
    T* column = block + (int64_t)j * padded(n_rows);
    for (int row = 0; row < n_rows; row++) column[row] = start[j * x.column_step + row * x.row_step];
    for (int row = n_rows; row < padded(n_rows); row++) column[row] = 0;
  }
}

// Copy a block to columns that lie together.
template <class T>
void empty_block(void* x, const T* block, int member, int n_columns, int64_t n_all, int64_t first, int n_rows) {
  T* start = (T*)x + member * n_columns * n_all + first;
  for (int j = 0; j < n_columns; j++) copy(start + j * n_all, block + (int64_t)j * padded(n_rows), n_rows);
}

}  // namespace
