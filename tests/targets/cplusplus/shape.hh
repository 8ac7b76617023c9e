// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
#include <stdexcept>
#include <string>
#include <vector>
namespace shapes {
struct Refused : std::runtime_error {
    explicit Refused(const std::string &what) : std::runtime_error(what) {}
};
class Shape {
public:
    virtual ~Shape() {}
    virtual int area() const = 0;
    virtual std::string name() const { return "shape"; }
};
template <typename T> T largest(const std::vector<T> &values)
{
    if (values.empty())
        throw Refused("nothing to compare");
    T best = values[0];
    for (const T &each : values)
        if (each > best)
            best = each;
    return best;
}
inline int &counter() { static int count = 40; return count; }
}
