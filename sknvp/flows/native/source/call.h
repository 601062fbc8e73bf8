// The arguments of a call from Python, and the memory that it takes.
#pragma once
#include <cstdlib>
#include <memory>

#include "chain.h"
#include "threads.h"

namespace {

// A tensor of columns, of which each axis has a step.
struct Columns {
  const void* start;
  int64_t member_step, column_step, row_step;
};

// Tensors whose first axis is that of the members, each with its step.
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

// The arguments; `structures.py` has the same fields. Tensors without steps lie together, one member after the other.
struct Call {
  int32_t is_double, inverse, n_members, n_threads;
  int64_t n_rows;
  Columns x, context;       // the input, or the gradient of the image
  void *image, *log_det;    // the image and its log-determinant, or the gradients of the input and the log-determinant
  void* grad_context;       // or null
  Parts parts, grad_parts;  // the parameters and their gradients
  void* tape;               // tape_size() numbers for each member, or null
  const double *weights, *tail;  // of the rows: their weights, and a log-density that is added to that of the flow or null
  double* value;  // the sum of weighted log-densities of each member, or the log-density of each row
};

// Memory of a call, from which an arena is handed to each member.
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

// The number of rows that a block has room for.
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
